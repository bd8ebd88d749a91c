//! What is answered otherwise than the suite has it, and why.

/// File, group, and the end of the test's description.
pub(crate) type Case = (&'static str, &'static str, &'static str);

/// Cases that are all answered otherwise: of one group those that are named, or of several groups all.
pub(crate) struct Exception {
    /// Drafts, and who reads them.
    pub ways: &'static [&'static str],
    pub file: &'static str,
    pub groups: &'static [&'static str],
    /// How their descriptions end.
    pub tests: &'static [&'static str],
    pub reason: &'static str,
}

// === impl Exception ===

impl Exception {
    /// The case as it is named here, and why it is one.
    pub(crate) fn case(&self, file: &str, group: &str, test: &str) -> Option<(Case, &'static str)> {
        let group = self.groups.iter().find(|known| **known == group && self.file == file)?;
        let test = self.endings().iter().find(|ending| test.ends_with(**ending))?;
        Some(((self.file, group, test), self.reason))
    }

    pub(crate) fn cases(&self) -> impl Iterator<Item = Case> {
        self.groups.iter().flat_map(|group| self.endings().iter().map(|test| (self.file, *group, *test)))
    }

    fn endings(&self) -> &'static [&'static str] {
        if self.tests.is_empty() { &[""] } else { self.tests }
    }
}

const CONTENT: &str = "what is in a text is not looked at";
const DEFAULT: &str = "a policy's default must be as its schema says";
const FLOATS: &str = "2020-12 counts 1.0 among the whole numbers";
const FORMATS: &str = "formats are asserted";
const ID: &str = "schemas have no URI in Swagger 2.0 and OpenAPI 3.0";
const RECURSIVE: &str = "`$recursiveRef` is 2019-09's alone, and refused";
const TUPLE: &str = "a list of schemas is `prefixItems` in 2020-12, and refused elsewhere";
const UNKNOWN: &str = "a policy's schema has no keyword and no format that is not understood";
const URL: &str = "it leads to a URL, and nothing is fetched";
const VOCABULARY: &str = "there is one dialect";

pub(crate) const EXCEPTIONS: &[Exception] = &[
    Exception {
        ways: &["7 in 3.0"],
        file: "optional/content.json",
        groups: &["validation of string-encoded content based on media type"],
        tests: &["an invalid JSON document"],
        reason: CONTENT,
    },
    Exception {
        ways: &["7 in 3.0"],
        file: "optional/content.json",
        groups: &["validation of binary string-encoding"],
        tests: &["an invalid base64 string (% is not a valid character)"],
        reason: CONTENT,
    },
    Exception {
        ways: &["7 in 3.0"],
        file: "optional/content.json",
        groups: &["validation of binary-encoded media type documents"],
        tests: &["a validly-encoded invalid JSON document", "an invalid base64 string that is valid JSON"],
        reason: CONTENT,
    },
    Exception {
        ways: &["2020-12 in policies"],
        file: "default.json",
        groups: &[
            "invalid type for default",
            "invalid string value for default",
            "the default keyword does not do anything if the property is missing",
        ],
        tests: &[],
        reason: DEFAULT,
    },
    Exception {
        ways: &["4 in 2.0", "4 in 3.0"],
        file: "optional/zeroTerminatedFloats.json",
        groups: &["some languages do not distinguish between different types of numeric value"],
        tests: &[],
        reason: FLOATS,
    },
    Exception {
        ways: &["2020-12 in 3.1", "2020-12 in policies"],
        file: "format.json",
        groups: &[
            "email format",
            "idn-email format",
            "regex format",
            "ipv4 format",
            "ipv6 format",
            "idn-hostname format",
            "hostname format",
            "date format",
            "date-time format",
            "time format",
            "json-pointer format",
            "relative-json-pointer format",
            "iri format",
            "iri-reference format",
            "uri format",
            "uri-reference format",
            "uri-template format",
            "uuid format",
            "duration format",
        ],
        tests: &["is only an annotation by default"],
        reason: FORMATS,
    },
    Exception {
        ways: &["4 in 2.0", "4 in 3.0", "6 in 3.0", "7 in 3.0"],
        file: "optional/id.json",
        groups: &["id inside an enum is not a real identifier"],
        tests: &[],
        reason: ID,
    },
    Exception {
        ways: &["6 in 3.0", "7 in 3.0"],
        file: "optional/unknownKeyword.json",
        groups: &["$id inside an unknown keyword is not a real identifier"],
        tests: &[],
        reason: ID,
    },
    Exception {
        ways: &["4 in 2.0", "4 in 3.0"],
        file: "ref.json",
        groups: &[
            "$ref prevents a sibling id from changing the base uri",
            "id must be resolved against nearest parent, not just immediate parent",
        ],
        tests: &[],
        reason: ID,
    },
    Exception {
        ways: &["4 in 2.0", "4 in 3.0", "6 in 3.0", "7 in 3.0"],
        file: "ref.json",
        groups: &[
            "Recursive references between schemas",
            "Location-independent identifier",
            "Location-independent identifier with base URI change in subschema",
        ],
        tests: &[],
        reason: ID,
    },
    Exception {
        ways: &["6 in 3.0", "7 in 3.0"],
        file: "ref.json",
        groups: &[
            "$ref prevents a sibling $id from changing the base uri",
            "Reference an anchor with a non-relative URI",
            "refs with relative uris and defs",
            "relative refs with absolute uris and defs",
            "simple URN base URI with $ref via the URN",
            "URN base URI with URN and JSON pointer ref",
            "URN base URI with URN and anchor ref",
            "ref with absolute-path-reference",
        ],
        tests: &[],
        reason: ID,
    },
    Exception {
        ways: &["7 in 3.0"],
        file: "ref.json",
        groups: &[
            "$id must be resolved against nearest parent, not just immediate parent",
            "ref to if",
            "ref to then",
            "ref to else",
        ],
        tests: &[],
        reason: ID,
    },
    Exception {
        ways: &["2019-09 in 3.1"],
        file: "recursiveRef.json",
        groups: &[
            "$recursiveRef without $recursiveAnchor works like $ref",
            "$recursiveRef without using nesting",
            "$recursiveRef with nesting",
            "$recursiveRef with $recursiveAnchor: false works like $ref",
            "$recursiveRef with no $recursiveAnchor works like $ref",
            "$recursiveRef with no $recursiveAnchor in the initial target schema resource",
            "$recursiveRef with no $recursiveAnchor in the outer schema resource",
            "multiple dynamic paths to the $recursiveRef keyword",
            "dynamic $recursiveRef destination (not predictable at schema compile time)",
        ],
        tests: &[],
        reason: RECURSIVE,
    },
    Exception {
        ways: &["2019-09 in 3.1"],
        file: "ref.json",
        groups: &["$ref with $recursiveAnchor"],
        tests: &[],
        reason: RECURSIVE,
    },
    Exception {
        ways: &["2019-09 in 3.1"],
        file: "unevaluatedItems.json",
        groups: &["unevaluatedItems with $recursiveRef"],
        tests: &[],
        reason: RECURSIVE,
    },
    Exception {
        ways: &["2019-09 in 3.1"],
        file: "unevaluatedProperties.json",
        groups: &["unevaluatedProperties with $recursiveRef"],
        tests: &[],
        reason: RECURSIVE,
    },
    Exception {
        ways: &["2019-09 in 3.1"],
        file: "additionalItems.json",
        groups: &[
            "additionalItems as schema",
            "array of items with no additionalItems permitted",
            "additionalItems are allowed by default",
            "additionalItems does not look in applicators, valid case",
            "additionalItems does not look in applicators, invalid case",
            "items validation adjusts the starting index for additionalItems",
            "additionalItems with heterogeneous array",
        ],
        tests: &[],
        reason: TUPLE,
    },
    Exception {
        ways: &["2020-12 in policies"],
        file: "dynamicRef.json",
        groups: &[
            "strict-tree schema, guards against misspelled properties",
            "tests for implementation dynamic anchor and reference link",
            "$ref and $dynamicAnchor are independent of order - $defs first",
            "$ref and $dynamicAnchor are independent of order - $ref first",
            "$ref to $dynamicRef finds detached $dynamicAnchor",
        ],
        tests: &[],
        reason: TUPLE,
    },
    Exception {
        ways: &["2019-09 in 3.1"],
        file: "items.json",
        groups: &[
            "an array of schemas for items",
            "items with boolean schemas",
            "items and subitems",
            "array-form items with null instance elements",
        ],
        tests: &[],
        reason: TUPLE,
    },
    Exception {
        ways: &["2019-09 in 3.1"],
        file: "ref.json",
        groups: &["relative pointer ref to array"],
        tests: &[],
        reason: TUPLE,
    },
    Exception {
        ways: &["2019-09 in 3.1"],
        file: "unevaluatedItems.json",
        groups: &[
            "unevaluatedItems with tuple",
            "unevaluatedItems with items and additionalItems",
            "unevaluatedItems with nested tuple",
            "unevaluatedItems with nested items and additionalItems",
            "unevaluatedItems with nested unevaluatedItems",
            "unevaluatedItems with anyOf",
            "unevaluatedItems with oneOf",
            "unevaluatedItems with not",
            "unevaluatedItems with if/then/else",
            "unevaluatedItems with $ref",
            "unevaluatedItems before $ref",
            "unevaluatedItems can't see inside cousins",
            "item is evaluated in an uncle schema to unevaluatedItems",
            "unevaluatedItems can see annotations from if without then and else",
        ],
        tests: &[],
        reason: TUPLE,
    },
    Exception {
        ways: &["2019-09 in 3.1"],
        file: "uniqueItems.json",
        groups: &[
            "uniqueItems with an array of items",
            "uniqueItems with an array of items and additionalItems=false",
            "uniqueItems=false with an array of items",
            "uniqueItems=false with an array of items and additionalItems=false",
        ],
        tests: &[],
        reason: TUPLE,
    },
    Exception {
        ways: &["2020-12 in policies"],
        file: "content.json",
        groups: &[
            "validation of string-encoded content based on media type",
            "validation of binary string-encoding",
            "validation of binary-encoded media type documents",
            "validation of binary-encoded media type documents with schema",
        ],
        tests: &[],
        reason: UNKNOWN,
    },
    Exception {
        ways: &["2020-12 in policies"],
        file: "optional/dependencies-compatibility.json",
        groups: &[
            "single dependency",
            "empty dependents",
            "multiple dependents required",
            "dependencies with escaped characters",
            "single schema dependency",
            "boolean subschemas",
            "schema dependencies with escaped characters",
        ],
        tests: &[],
        reason: UNKNOWN,
    },
    Exception {
        ways: &["2020-12 in policies"],
        file: "optional/format/unknown.json",
        groups: &["unknown format"],
        tests: &[],
        reason: UNKNOWN,
    },
    Exception {
        ways: &["2020-12 in policies"],
        file: "optional/refOfUnknownKeyword.json",
        groups: &["reference of a root arbitrary keyword ", "reference of an arbitrary keyword of a sub-schema"],
        tests: &[],
        reason: UNKNOWN,
    },
    Exception {
        ways: &["2020-12 in policies"],
        file: "optional/unknownKeyword.json",
        groups: &["$id inside an unknown keyword is not a real identifier"],
        tests: &[],
        reason: UNKNOWN,
    },
    Exception {
        ways: &["4 in 2.0", "4 in 3.0", "6 in 3.0", "7 in 3.0"],
        file: "definitions.json",
        groups: &["validate definition against metaschema"],
        tests: &[],
        reason: URL,
    },
    Exception {
        ways: &["2019-09 in 3.1", "2020-12 in 3.1", "2020-12 in policies"],
        file: "defs.json",
        groups: &["validate definition against metaschema"],
        tests: &[],
        reason: URL,
    },
    Exception {
        ways: &["2019-09 in 3.1", "2020-12 in 3.1", "2020-12 in policies"],
        file: "optional/cross-draft.json",
        groups: &["refs to historic drafts are processed as historic drafts"],
        tests: &[],
        reason: URL,
    },
    Exception {
        ways: &["7 in 3.0"],
        file: "optional/cross-draft.json",
        groups: &["refs to future drafts are processed as future drafts"],
        tests: &[],
        reason: URL,
    },
    Exception {
        ways: &[
            "4 in 2.0",
            "4 in 3.0",
            "6 in 3.0",
            "7 in 3.0",
            "2019-09 in 3.1",
            "2020-12 in 3.1",
            "2020-12 in policies",
        ],
        file: "ref.json",
        groups: &["remote ref, containing refs itself"],
        tests: &[],
        reason: URL,
    },
    Exception {
        ways: &[
            "4 in 2.0",
            "4 in 3.0",
            "6 in 3.0",
            "7 in 3.0",
            "2019-09 in 3.1",
            "2020-12 in 3.1",
            "2020-12 in policies",
        ],
        file: "refRemote.json",
        groups: &[
            "remote ref",
            "fragment within remote ref",
            "ref within remote ref",
            "base URI change",
            "base URI change - change folder",
            "base URI change - change folder in subschema",
            "root ref in remote ref",
            "Location-independent identifier in remote ref",
        ],
        tests: &[],
        reason: URL,
    },
    Exception {
        ways: &["2019-09 in 3.1", "2020-12 in 3.1", "2020-12 in policies"],
        file: "refRemote.json",
        groups: &[
            "anchor within remote ref",
            "remote HTTP ref with different $id",
            "remote HTTP ref with different URN $id",
            "remote HTTP ref with nested absolute ref",
        ],
        tests: &[],
        reason: URL,
    },
    Exception {
        ways: &["2019-09 in 3.1", "2020-12 in policies"],
        file: "refRemote.json",
        groups: &["remote ref with ref to defs", "$ref to $ref finds detached $anchor"],
        tests: &[],
        reason: URL,
    },
    Exception {
        ways: &["6 in 3.0", "7 in 3.0", "2019-09 in 3.1", "2020-12 in 3.1", "2020-12 in policies"],
        file: "refRemote.json",
        groups: &["retrieved nested refs resolve relative to their URI not $id"],
        tests: &[],
        reason: URL,
    },
    Exception {
        ways: &["6 in 3.0", "7 in 3.0"],
        file: "refRemote.json",
        groups: &["remote ref with ref to definitions", "$ref to $ref finds location-independent $id"],
        tests: &[],
        reason: URL,
    },
    Exception {
        ways: &["2020-12 in 3.1", "2020-12 in policies"],
        file: "optional/format-assertion.json",
        groups: &[
            "schema that uses custom metaschema with format-assertion: false",
            "schema that uses custom metaschema with format-assertion: true",
        ],
        tests: &[],
        reason: VOCABULARY,
    },
    Exception {
        ways: &["2019-09 in 3.1", "2020-12 in 3.1", "2020-12 in policies"],
        file: "vocabulary.json",
        groups: &[
            "schema that uses custom metaschema with with no validation vocabulary",
            "ignore unrecognized optional vocabulary",
        ],
        tests: &[],
        reason: VOCABULARY,
    },
];
