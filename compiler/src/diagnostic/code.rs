//! The table of all that is said about a project and the gateway's settings. Ids and slugs are stable: they are never
//! reused or changed. What there is to read about a code is its [`Record`], in `records/MGW-nnnn.md`.

use std::fmt;

use super::{Record, Severity};

/// How a code is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Error,
    Warning,
    Note,
    /// Declared and not enforced: an error, or with `--allow-unenforced` a warning that is recorded in the model.
    Unenforced,
}

macro_rules! codes {
    ($($name:ident $id:literal $class:ident $slug:literal $summary:literal)+) => {
        /// What a diagnostic is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $summary] $name,)+
        }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$name,)+];

            /// `MGW-0101` and so on.
            pub fn id(self) -> &'static str {
                match self { $(Code::$name => concat!("MGW-", $id),)+ }
            }

            /// The name for people, `duplicate-key` and so on.
            pub fn slug(self) -> &'static str {
                match self { $(Code::$name => $slug,)+ }
            }

            /// One sentence for the reference page.
            pub fn summary(self) -> &'static str {
                match self { $(Code::$name => $summary,)+ }
            }

            pub fn class(self) -> Class {
                match self { $(Code::$name => Class::$class,)+ }
            }

            /// The record as it was written.
            fn source(self) -> &'static str {
                match self { $(Code::$name => include_str!(concat!("records/MGW-", $id, ".md")),)+ }
            }
        }
    };
}

codes! {
    UnreadableFile "0101" Error "unreadable-file" "A file of the project cannot be read."
    NotText "0102" Error "not-text" "A file is not UTF-8 text, or has a NUL character."
    Syntax "0103" Error "syntax" "A file is not well-formed JSON, YAML or TOML."
    DuplicateKey "0104" Error "duplicate-key" "A mapping has a key twice."
    InputBudget "0105" Error "input-budget" "A file is nested too deeply, expands to too much or is too large."
    NothingToBuild "0106" Error "nothing-to-build" "The project has no API definition."
    UnusedFragment "0107" Note "unused-fragment" "A file is no definition, and no definition refers to it."
    DeploymentConfig "0108" Error "deployment-config" "`conf/deployment-config.toml` has a wrong key or value."
    DeploymentIgnored "0109" Note "deployment-ignored" "A section of `conf/deployment-config.toml` has no meaning here."
    ErrorTemplate "0110" Error "error-template" "A template in `error_templates` cannot be used."

    UnsupportedVersion "0201" Error "unsupported-version" "A definition is not Swagger 2.0, OpenAPI 3.0 or OpenAPI 3.1."
    MissingInfo "0202" Error "missing-info" "A definition has no `info.title` or no `info.version`."
    WrongType "0203" Error "wrong-type" "A value has another type than its key needs."
    UnresolvedReference "0204" Error "unresolved-reference" "A `$ref` points to nothing."
    OutsideReference "0205" Error "outside-reference" "A `$ref` leaves the project."
    NoOperation "0206" Warning "no-operation" "A definition has no operation."
    BadPath "0207" Error "bad-path" "A path is no valid path template."
    UnsupportedMethod "0208" Warning "unsupported-method" "An operation's method is not served."
    UnknownExtension "0209" Warning "unknown-extension" "An `x-wso2-*` key is not known."
    MisplacedExtension "0210" Error "misplaced-extension" "An extension stands where it has no meaning."
    UnknownKey "0211" Warning "unknown-key" "An object has a key that is not known."
    BadValue "0212" Error "bad-value" "A value is out of range, or not one of those allowed."
    Misspelled "0213" Error "misspelled" "A key of this gateway's own, or one that is nearly known, is not known."

    NoBasePath "0301" Warning "no-base-path" "A definition names no base path; `/` is used."
    BadBasePath "0302" Error "bad-base-path" "A base path is not a concrete, normalised path."
    NoEndpoint "0303" Error "no-endpoint" "An operation has no endpoint."
    BadUrl "0304" Error "bad-url" "A URL cannot be used for an endpoint."
    UnknownEndpoint "0305" Error "unknown-endpoint" "A reference to `x-wso2-endpoints` names no entry."
    BadEtcd "0306" Error "bad-etcd" "`etcd(...)`, `srv(...)` or `consul(...)` is not a name and a URL."
    AssumedScheme "0307" Warning "assumed-scheme" "A Swagger 2.0 definition names a host and no schemes."
    IgnoredUrl "0308" Warning "ignored-url" "A URL is declared and not used."
    BadCredentials "0309" Error "bad-credentials" "What a backend is to know the gateway by cannot be used."
    IgnoredPassword "0310" Warning "ignored-password" "A password stands in a definition, where it is not used."
    MixedFailover "0311" Error "mixed-failover" "URLs that fail over to each other differ in scheme or path."
    WithoutEffect "0314" Warning "without-effect" "An endpoint asks for something that has no effect."
    BadHost "0315" Error "bad-host" "An entry of `x-microgw-hosts` is no host."
    NoExample "0320" Error "no-example" "An operation is to be mocked, and has no example."
    BadAnswer "0321" Error "bad-answer" "What the gateway is to answer by itself cannot be used."
    BadStream "0322" Error "bad-stream" "How long an operation may take, or how it goes on, is contradictory."
    BadMirror "0323" Error "bad-mirror" "Requests cannot be copied as it is declared."

    UndefinedScheme "0401" Error "undefined-scheme" "A security requirement names a scheme that is not declared."
    EmptySecurity "0402" Error "empty-security" "An empty security list or object, whose meaning the project does not fix."
    UnenforceableScope "0403" Error "unenforceable-scope" "Scopes are declared where no scheme can enforce them."
    BadScheme "0404" Error "bad-scheme" "A security scheme is not valid."
    OptionalWithoutTls "0405" Error "optional-without-tls" "Optional application security without mandatory mutual TLS."
    BadHeaderName "0406" Error "bad-header-name" "A credential's header or query name cannot be used."
    ContradictoryAccess "0407" Error "contradictory-access" "An operation is declared both open and secured."
    BadAuthType "0408" Warning "auth-type" "`x-auth-type` has a value that has no effect."

    DuplicateApi "0501" Error "duplicate-api" "Two definitions have the same name and version."
    DuplicateBasePath "0502" Error "duplicate-base-path" "Two definitions have the same base path."
    NestedBasePath "0503" Warning "nested-base-path" "One definition's base path lies below another's."
    DuplicateOperation "0504" Error "duplicate-operation" "Two operations match exactly the same requests."
    UnreachableOperation "0505" Error "unreachable-operation" "An operation lies below the base path of another API."
    AmbiguousPath "0506" Warning "ambiguous-path" "Two path templates match a common path, and neither is more specific."
    ReservedPath "0507" Error "reserved-path" "An operation lies on a path that the gateway itself serves."

    BadPolicy "0601" Error "bad-policy" "A policy of `policies.yaml` is not valid."
    DuplicatePolicy "0602" Error "duplicate-policy" "A section of `policies.yaml` has a name twice."
    UnusedPolicies "0603" Note "unused-policies" "Policies are declared and no operation uses them."
    UnknownPolicy "0604" Error "unknown-policy" "A throttling tier is not declared in `policies.yaml`."
    BadCondition "0606" Error "bad-condition" "A condition of `policies.yaml` cannot be used."
    BadCost "0607" Error "bad-cost" "What an operation costs is not valid."
    IdleLimit "0608" Warning "idle-limit" "A limit can never be reached, because another one is reached first."
    TooCostly "0609" Error "too-costly" "A request costs more than a limit ever admits at once."
    IdlePolicy "0610" Warning "idle-policy" "A policy, or a part of it, has no effect."
    UnusedTier "0611" Note "unused-tier" "`Default` or `Unauthenticated` is declared, and no request can have it."

    ForeignInterceptor "0703" Error "foreign-interceptor" "An interceptor is Java or Ballerina, which is not run."
    ResponseCache "0704" Unenforced "response-cache" "No response of an API can be kept."
    UnenforceableScheme "0711" Unenforced "unenforceable-scheme" "A security scheme cannot be enforced yet."
    BadCors "0712" Error "bad-cors" "What `x-wso2-cors` says cannot be, or lets anybody act for those who are logged in."
    LooseOrigin "0713" Warning "loose-origin" "A pattern of origins matches more than those that it seems to be for."
    BadHeaderEdit "0714" Error "bad-header-edit" "A header cannot be edited, or a value cannot be sent."
    SecuredCache "0716" Warning "secured-cache" "Responses of operations that ask for a credential are never cached."

    BadContract "0720" Error "bad-contract" "Messages are to be validated, and what the definition says of them cannot be checked."
    UncheckedContract "0721" Note "unchecked-contract" "What a definition says of messages cannot be checked, if settings ask for that."
    UnknownFormat "0722" Note "unknown-format" "A `format` is not known, and not checked."
    BadTransform "0731" Error "bad-transform" "A transformation, or a policy in `policies/`, is not valid."
    UnusedTransforms "0732" Note "unused-transforms" "A file in `policies/` is used by nothing."
    ChangedPolicy "0733" Error "changed-policy" "A policy that was taken in is not what `policies.lock` says."
    BadInterceptor "0734" Error "bad-interceptor" "An interceptor, or a file in `interceptors/`, is not valid."
    UnusedInterceptor "0735" Note "unused-interceptor" "A file in `interceptors/` is used by nothing."

    BallerinaIgnored "0801" Note "ballerina-ignored" "Ballerina files without code are ignored."
    BallerinaCode "0802" Error "ballerina-code" "Ballerina code is not run."
    GrpcDefinition "0803" Error "grpc-definition" "gRPC definitions are not served yet."
    JavaLibrary "0804" Warning "java-library" "Java libraries are not loaded."

    SettingsUnreadable "0901" Error "settings-unreadable" "The file with the gateway's settings cannot be read."
    SettingsSyntax "0902" Error "settings-syntax" "`micro-gw.conf` is not well-formed TOML."
    UnknownSetting "0903" Error "unknown-setting" "A setting has a name that is not known."
    BadSetting "0904" Error "bad-setting" "A setting has a value that cannot be used, or lacks one."
    SettingNotEnforced "0905" Unenforced "setting-not-enforced" "A setting asks for protection that is not there yet."
    SettingWithoutEffect "0906" Warning "setting-without-effect" "A setting is known and does nothing."
    ConflictingSettings "0907" Error "conflicting-settings" "Settings contradict or lack each other."
    InsecureSetting "0908" Error "insecure-setting" "A password is known, a secret is in the open, or backends are not verified."

    RefusedByEnvoy "1001" Error "refused-by-envoy" "A real Envoy refuses what the project becomes."
}

/// How many codes are worth proposing in place of one that is not known.
const MAX_NEAR: usize = 5;

// === impl Class ===

impl Class {
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Error => "error",
            Class::Warning => "warning",
            Class::Note => "note",
            Class::Unenforced => "unenforced",
        }
    }
}

// === impl Code ===

impl Code {
    /// The code that is called so: `MGW-0104`, `0104`, `104` or `duplicate-key`, in any case.
    pub fn find(name: &str) -> Option<Code> {
        let name = name.trim().to_ascii_lowercase();
        let digits = name.strip_prefix("mgw").map_or(name.as_str(), |rest| rest.trim_start_matches(['-', '_']));
        let number = digits.parse::<u32>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let id = number.map(|number| format!("MGW-{number:04}"));
        Code::ALL.iter().copied().find(|code| code.slug() == name || id.as_deref() == Some(code.id()))
    }

    /// Codes that may be meant by a name that is none: those with one of its words, or a name like it; of a number, its
    /// neighbours.
    pub fn near(name: &str) -> Vec<Code> {
        let name = name.trim().to_ascii_lowercase();
        let number = |text: &str| text.trim_start_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().ok();
        if let Some(wanted) = number(&name) {
            let distance = |code: &Code| number(code.id()).unwrap_or_default().abs_diff(wanted);
            let mut near: Vec<Code> = Code::ALL.iter().copied().filter(|code| distance(code) < 100).collect();
            near.sort_by_key(distance);
            near.truncate(MAX_NEAR);
            return near;
        }
        let words: Vec<&str> = name.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 2).collect();
        let score = |code: &Code| {
            let shared = words.iter().any(|word| code.slug().contains(word));
            strsim::jaro_winkler(&name, code.slug()) + if shared { 0.5 } else { 0.0 }
        };
        let mut near: Vec<(f64, Code)> = Code::ALL.iter().map(|code| (score(code), *code)).collect();
        near.retain(|(score, _)| *score > 0.8);
        near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        near.into_iter().map(|(_, code)| code).take(MAX_NEAR).collect()
    }

    pub fn record(self) -> Record {
        Record::parse(self.source())
    }

    /// Whether it is about the gateway's settings rather than a project.
    pub fn is_of_settings(self) -> bool {
        self.id().starts_with("MGW-09")
    }

    /// The severity of this code when nothing unenforced is allowed.
    pub fn severity(self) -> Severity {
        match self.class() {
            Class::Error | Class::Unenforced => Severity::Error,
            Class::Warning => Severity::Warning,
            Class::Note => Severity::Note,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}
