"""The keywords of sshd_config: where each is allowed, and the form of its arguments.

The table of OpenSSH 9.2 (servconf.c) with the keywords added by Debian and Red Hat and those of releases up to 10.x, so
that images with a newer sshd pass. Names of algorithms are not validated because they change with each release.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto


class Scope(Enum):
    """Where a keyword is allowed."""

    GLOBAL = auto()
    """Outside of Match blocks only."""
    ALL = auto()


@dataclass(frozen=True, slots=True)
class Shape:
    """The form of the arguments of a keyword."""

    least: int = 1
    most: int | None = 1
    """None for any number."""
    form: re.Pattern[str] | None = None
    """Each argument must match this expression completely."""
    whole_line: bool = False
    """The rest of the line is the value, including comments and quotes."""

    def problem(self, keyword: str, words: list[str], rest: str) -> str | None:
        """Return why sshd rejects these arguments, or None."""
        if self.whole_line:
            fits = self.form is None or self.form.fullmatch(rest.strip()) is not None
            return None if fits else f"{keyword} requires an absolute path or none"
        if len(words) < self.least or "" in words:
            return f"{keyword}: missing argument"
        if self.most is not None and len(words) > self.most:
            return f"{keyword}: too many arguments"
        wrong = [word for word in words if self.form and not self.form.fullmatch(word)]
        return f"{keyword}: invalid value {wrong[0]!r}" if wrong else None


@dataclass(frozen=True, slots=True)
class Keyword:
    """One keyword; `name` is the canonical name of an alias."""

    name: str
    scope: Scope
    shape: Shape


def _choice(words: str) -> Shape:
    return Shape(form=re.compile("|".join(map(re.escape, words.split())), re.IGNORECASE))


_FLAG = _choice("yes no")
_ONE = Shape()
_SOME = Shape(most=None)
_ANY = Shape(least=0, most=None)
_LINE = Shape(whole_line=True)
_COMMAND = Shape(whole_line=True, form=re.compile("/.*|none", re.IGNORECASE))
_NUMBER = Shape(form=re.compile(r"[+-]?\d+"))
# A TCP port number or the name of a service (misc.c, a2port).
_PORT = re.compile(r"(?!0+$)0*(\d{1,4}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])|[a-z][\w-]*", re.ASCII)
_TIME = Shape(form=re.compile(r"(\d+[smhdw]?)+", re.IGNORECASE))

AUTH_METHODS = {
    "none": "",
    "publickey": "pubkeyauthentication",
    "password": "passwordauthentication",
    "keyboard-interactive": "kbdinteractiveauthentication",
    "hostbased": "hostbasedauthentication",
    "gssapi-with-mic": "gssapiauthentication",
    "gssapi-keyex": "gssapikeyexchange",
}
"""Methods of AuthenticationMethods -> keyword that enables each ("" if always enabled)."""

_METHOD = f"({'|'.join(AUTH_METHODS)})(:[^,]*)?"
_METHODS = Shape(most=None, form=re.compile(f"any|{_METHOD}(,{_METHOD})*"))

_GLOBAL: dict[Shape, str] = {
    _FLAG: """usepam printmotd printlastlog ignoreuserknownhosts strictmodes tcpkeepalive usedns kerberosorlocalpasswd
        kerberosticketcleanup kerberosgetafstoken gssapicleanupcredentials gssapistrictacceptorcheck
        gssapikeyexchange gssapistorecredentialsonrekey gssapienablek5users kerberosusekuserok debianbanner""",
    _ONE: """hostkey hostkeyagent pidfile modulifile xauthlocation ciphers macs kexalgorithms hostkeyalgorithms
        persourcenetblocksize permituserenvironment securitykeyprovider fingerprinthash hostcertificate
        maxstartups gssapikexalgorithms syslogfacility pamservicename sshdsessionpath sshdauthpath
        persourcepenaltyexemptlist""",
    _TIME: "logingracetime",
    Shape(form=_PORT): "port",
    Shape(form=re.compile(r"none|\d+")): "persourcemaxstartups",
    _SOME: "listenaddress persourcepenalties",
    Shape(least=2, most=None): "subsystem",
    _choice("inet inet6 any"): "addressfamily",
    _choice("yes no delayed"): "compression",
    # All but the first are deprecated, and sshd ignores them.
    _LINE: """versionaddendum
        pamauthenticationviakbdint serverkeybits keyregenerationinterval rhostsauthentication checkmail uselogin
        verifyreversemapping reversemappingcheck useprivilegeseparation protocol kerberostgtpassing afstokenpassing
        permitblacklistedkeys gssusesessionccache gssapiusesessioncredcache authorizedkeyscommandrunas showpatchlevel
        kerberosuniqueccache hpndisabled hpnbuffersize tcprcvbufpoll noneenabled nonemacenabled disablemtaes""",
}

_ALL: dict[Shape, str] = {
    _FLAG: """hostbasedauthentication hostbasedusesnamefrompacketonly pubkeyauthentication kerberosauthentication
        gssapiauthentication passwordauthentication kbdinteractiveauthentication x11forwarding x11uselocalhost
        permitemptypasswords allowagentforwarding permittty permituserrc streamlocalbindunlink disableforwarding
        exposeauthinfo refuseconnection""",
    _choice("without-password prohibit-password forced-commands-only yes no"): "permitrootlogin",
    _choice("yes no shosts-only"): "ignorerhosts",
    _choice("clientspecified yes no"): "gatewayports",
    _choice("yes all no remote local"): "allowtcpforwarding allowstreamlocalforwarding",
    _choice("no point-to-point ethernet yes"): "permittunnel",
    _choice("quiet fatal error info verbose debug debug1 debug2 debug3"): "loglevel",
    Shape(form=re.compile("[0-7]+")): "streamlocalbindmask",
    _NUMBER: "x11displayoffset maxauthtries maxsessions clientalivecountmax requiredrsasize rsaminsize",
    _TIME: "clientaliveinterval",
    Shape(form=re.compile(r"none|(\d+[smhdw]?)+", re.IGNORECASE)): "unusedconnectiontimeout",
    _ONE: """hostbasedacceptedalgorithms pubkeyacceptedalgorithms casignaturealgorithms banner revokedkeys
        trustedusercakeys authorizedprincipalsfile authorizedkeyscommanduser authorizedprincipalscommanduser
        chrootdirectory rdomain""",
    Shape(most=2): "ipqos rekeylimit",
    _ANY: """authorizedkeysfile acceptenv setenv allowusers denyusers allowgroups denygroups logverbose
        pubkeyauthoptions channeltimeout include""",
    _SOME: "permitopen permitlisten",
    _METHODS: "authenticationmethods",
    _LINE: "forcecommand match rhostsrsaauthentication rsaauthentication authorizedkeysfile2",
    _COMMAND: "authorizedkeyscommand authorizedprincipalscommand",
}

_ALIASES = {
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "skeyauthentication": "kbdinteractiveauthentication",
    "hostbasedacceptedkeytypes": "hostbasedacceptedalgorithms",
    "pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
    "hostdsakey": "hostkey",
    "keepalive": "tcpkeepalive",
    "gssapicleanupcreds": "gssapicleanupcredentials",
}

KEYWORDS: dict[str, Keyword] = {
    name: Keyword(name, scope, shape)
    for scope, table in ((Scope.GLOBAL, _GLOBAL), (Scope.ALL, _ALL))
    for shape, names in table.items()
    for name in names.split()
}
KEYWORDS |= {alias: KEYWORDS[name] for alias, name in _ALIASES.items()}
# Unlike its canonical keyword, this alias is not allowed in a Match block.
KEYWORDS["dsaauthentication"] = Keyword("pubkeyauthentication", Scope.GLOBAL, _FLAG)

LISTS = frozenset({"allowusers", "denyusers", "allowgroups", "denygroups", "acceptenv", "hostkey", "port"})
"""Keywords whose lines add to a list."""

DEFAULTS = {
    "permitrootlogin": "prohibit-password",
    "pubkeyauthentication": "yes",
    "passwordauthentication": "yes",
    "kbdinteractiveauthentication": "yes",
    "hostbasedauthentication": "no",
    "gssapiauthentication": "no",
    "gssapikeyexchange": "no",
    "usepam": "no",
    "authenticationmethods": "any",
    "authorizedkeysfile": ".ssh/authorized_keys .ssh/authorized_keys2",
}
"""Default values (fill_default_server_options in servconf.c)."""
