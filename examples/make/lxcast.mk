# Make targets for templates. Include this file in your Makefile:
#
#     STORAGE := pve-nfs=/mnt/pve/pve-nfs
#     include path/to/lxcast.mk
#
#     make image.build IMAGE=debian-12
#
# Variables:
#     IMAGES        the directory with one directory for each image (default: images)
#     IMAGE         the image's directory in IMAGES, and the template's name
#     VERSION       next or vN
#     STORAGE       the storage to build into
#     PACKER_FLAGS  passed to `packer build`
#     PIN           passed to `lxcast promote --to`: a pin file, or FILE:ADDRESS
#     UPLOAD        the Proxmox storage of image.upload: proxmox:NODE/STORAGE; default: PM_NODE and PM_STORAGE
#     UPLOAD_FLAGS  passed to `lxcast publish`
#
# PM_API_URL, PM_API_TOKEN_ID and PM_API_TOKEN_SECRET come from the environment. SOURCE_DATE_EPOCH defaults to the time of
# the last commit to the image's directory, so that the same files and packages give the same content.
# The last line of standard output is the template's id.
# Run once on each machine: `lxcast packer install`, and for Packer 1.10 and later `packer init` in the image's directory.

IMAGE ?= debian-12
VERSION ?= next
STORAGE ?= ./storage
IMAGES ?= images
PACKER ?= packer
PACKER_FLAGS ?=
PIN ?= templates.auto.tfvars.json
UPLOAD ?= proxmox:
UPLOAD_FLAGS ?=

image_dir = $(IMAGES)/$(IMAGE)
# Packer 1.6 does not know required_plugins, so it gets one file instead of the directory.
image_template = $(if $(filter v1.6.%,$(shell $(PACKER) version)),$(image_dir)/packer.pkr.hcl,$(image_dir))
# A virtual environment next to the Makefile takes precedence, also for the commands that Packer runs.
image_env = PATH="$(CURDIR)/.venv/bin:$$PATH" CHECKPOINT_DISABLE=1
image_epoch = SOURCE_DATE_EPOCH="$${SOURCE_DATE_EPOCH-$$(git -C $(image_dir) log -1 --format=%ct . 2>/dev/null)}"
image_packer = $(image_epoch) $(image_env) $(PACKER) build -var name=$(IMAGE) -var version=$(VERSION) -var storage=$(STORAGE)
image_ask = printf '{"name":"%s","version":"%s","storage":"%s"}' '$(IMAGE)' '$(1)' '$(STORAGE)' | $(image_env) lxcast-data
image_newest = $(call image_ask,latest)
image_number = $(filter v%,$(VERSION))
image_value = sed -n 's/.*"$(1)": *"\([^"]*\)".*/\1/p'

define image_upload
@file=$$($(call image_ask,$(or $(image_number),latest)) | $(call image_value,file)) && test -n "$$file" && \
$(image_env) lxcast publish "$(lastword $(subst =, ,$(STORAGE)))/template/cache/$$file" --storage $(UPLOAD) $(UPLOAD_FLAGS)
endef

.PHONY: image.build image.build-next image.check image.list image.promote image.upload image.build-upload

image.build: ## build IMAGE; if nothing changed, the newest version stays
	$(image_packer) -var if_changed=true $(PACKER_FLAGS) $(image_template)
	@$(call image_value,template_id) $(image_dir)/output/receipt.json

image.build-next: ## build IMAGE, always as a new version
	$(image_packer) $(PACKER_FLAGS) $(image_template)
	@$(call image_value,template_id) $(image_dir)/output/receipt.json

image.check: ## check the newest template of IMAGE
	@file=$$($(image_newest) | $(call image_value,file)) && test -n "$$file" && \
	$(image_env) lxcast check "$(lastword $(subst =, ,$(STORAGE)))/template/cache/$$file"
	@$(image_newest) | $(call image_value,template_id)

image.list: ## list the templates of IMAGE, the newest last
	@$(image_env) lxcast list --storage $(STORAGE) | awk 'NR == 1 || $$1 == "$(IMAGE)"'

image.promote: ## move the pin PIN of IMAGE to VERSION (default: the newest)
	@$(image_env) lxcast promote $(IMAGE) $(addprefix --version ,$(image_number)) --storage $(STORAGE) --to $(PIN)
	@$(call image_ask,$(or $(image_number),latest)) | $(call image_value,template_id)

image.upload: ## upload VERSION of IMAGE to UPLOAD (default: the newest)
	$(image_upload)

image.build-upload: image.build ## image.build, then upload the result to UPLOAD
	$(image_upload)

# `make` alone keeps the first target of the including Makefile, and starts no build.
ifeq ($(.DEFAULT_GOAL),image.build)
.DEFAULT_GOAL :=
endif
