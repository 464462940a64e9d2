# Templates by make. Usable from any Makefile:
#
#     STORAGE := pve-nfs=/mnt/pve/pve-nfs
#     include path/to/lxcast.mk
#
#     make image.build IMAGE=debian-12
#
# IMAGES is a folder that holds one folder for each image, IMAGE is that folder and the template's name, VERSION is next
# or vN, PACKER_FLAGS goes to `packer build`, PIN is what `lxcast promote --to` takes: a pin file, or FILE:ADDRESS.
# UPLOAD is the Proxmox storage that image.upload sends to: PM_NODE and PM_STORAGE name it, unless it says
# proxmox:NODE/STORAGE; PM_API_URL, PM_API_TOKEN_ID and PM_API_TOKEN_SECRET come from the environment, and UPLOAD_FLAGS
# goes to `lxcast publish`. The last line of standard output is the template's id.
# SOURCE_DATE_EPOCH unsaid is the last commit to the image's folder: the same files and packages are the same content.
# Once on each machine: `lxcast packer install`, and for Packer 1.10 and newer `packer init` in the image's folder.

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
# Packer 1.6 does not know required_plugins: it is given the one file instead of the folder.
image_template = $(if $(filter v1.6.%,$(shell $(PACKER) version)),$(image_dir)/packer.pkr.hcl,$(image_dir))
# A virtual environment beside the Makefile wins, for this recipe and for the commands that Packer runs.
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

image.build: ## template of IMAGE; where nothing changed, the newest one again
	$(image_packer) -var if_changed=true $(PACKER_FLAGS) $(image_template)
	@$(call image_value,template_id) $(image_dir)/output/receipt.json

image.build-next: ## template of IMAGE, always a new version
	$(image_packer) $(PACKER_FLAGS) $(image_template)
	@$(call image_value,template_id) $(image_dir)/output/receipt.json

image.check: ## would Proxmox take the newest template of IMAGE
	@file=$$($(image_newest) | $(call image_value,file)) && test -n "$$file" && \
	$(image_env) lxcast check "$(lastword $(subst =, ,$(STORAGE)))/template/cache/$$file"
	@$(image_newest) | $(call image_value,template_id)

image.list: ## the templates of IMAGE, the newest last
	@$(image_env) lxcast list --storage $(STORAGE) | awk 'NR == 1 || $$1 == "$(IMAGE)"'

image.promote: ## the pin PIN of IMAGE moved to VERSION; unsaid: to the newest
	@$(image_env) lxcast promote $(IMAGE) $(addprefix --version ,$(image_number)) --storage $(STORAGE) --to $(PIN)
	@$(call image_ask,$(or $(image_number),latest)) | $(call image_value,template_id)

image.upload: ## the template of IMAGE sent to UPLOAD: VERSION; unsaid: the newest
	$(image_upload)

image.build-upload: image.build ## image.build, and what it gave sent to UPLOAD
	$(image_upload)

# `make` alone stays what the including Makefile says: its own first target, and no build.
ifeq ($(.DEFAULT_GOAL),image.build)
.DEFAULT_GOAL :=
endif
