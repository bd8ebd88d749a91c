//! Reports for machines: valid, with paths that are right where the tool was started, whatever is in them.

use std::sync::LazyLock;

use super::*;

static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    // A pattern of languages has a bracket too many for a strict reader.
    let schema = include_str!("data/sarif-schema-2.1.0.json").replace("[a-zA-Z]{2}]?$", "[a-zA-Z]{2}$");
    jsonschema::options().should_validate_formats(true).build(&json(&schema)).unwrap()
});

const HEAD: &str =
    "openapi: 3.0.3\ninfo: {title: Shop, version: '1'}\nservers: [{url: https://shop.example.com/shop}]\n";
/// An error with a related place and help, a warning and a note, beyond ASCII.
const PROBLEMS: &str = "paths:\n  /ä/{größe}: {get: {security: [{tokn: []}]}, psot: {}}\n  /ä/{b}: {get: {}}\n\
    components: {securitySchemes: {token: {type: oauth2}}}\n";

impl Place {
    /// With a project at `path` that has this definition.
    fn with_project(path: &str, rest: &str) -> Place {
        let place = Place::new();
        place.write(&format!("{path}/api_definitions/shop.yaml"), &format!("{HEAD}{rest}"));
        place
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A report, started in `directory`.
    fn report(&self, directory: &str, arguments: &[&str]) -> Ended {
        let mut command = self.command(Path::new(env!("CARGO_BIN_EXE_micro-gw")), arguments);
        command.current_dir(self.at(directory));
        end(command)
    }

    /// Valid SARIF, its run.
    fn sarif(&self, directory: &str, arguments: &[&str]) -> Value {
        let ended = self.report(directory, &[arguments, &["--format", "sarif"]].concat());
        let log = json(&ended.stdout);
        let errors: Vec<String> = SCHEMA.iter_errors(&log).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{}", ended.stdout);
        let run = log["runs"][0].clone();
        let failed = results(&run).iter().any(|result| result["level"] == "error");
        assert_eq!(ended.code, Some(i32::from(failed)), "{}", ended.stderr);
        run
    }
}

fn results(run: &Value) -> &[Value] {
    run["results"].as_array().unwrap()
}

fn location(result: &Value) -> &Value {
    &result["locations"][0]["physicalLocation"]
}

/// Where its results are.
fn uris(run: &Value) -> Vec<&str> {
    let mut uris: Vec<&str> =
        results(run).iter().map(|result| location(result)["artifactLocation"]["uri"].as_str().unwrap()).collect();
    uris.dedup();
    uris
}

#[test]
fn sarif_says_all_that_people_are_told() {
    let place = Place::with_project("shop", PROBLEMS);
    place.write("shop/api_definitions/rest.yaml", "A: {}\n");
    place.write("shop/lib/a.jar", "PK");
    let run = place.sarif("", &["check", "shop"]);
    let told = |result: &Value| (result["ruleId"].clone(), result["level"].clone());
    let codes: Vec<_> = results(&run).iter().map(told).collect();
    let expected = [
        ("MGW-0107", "note"),
        ("MGW-0401", "error"),
        ("MGW-0211", "warning"),
        ("MGW-0504", "error"),
        ("MGW-0804", "warning"),
    ];
    assert_eq!(codes, expected.map(|(code, level)| (code.into(), level.into())));

    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 5);
    for result in results(&run) {
        let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(rule["help"]["markdown"].as_str().unwrap().contains("## Example"));
    }
    let undefined = &results(&run)[1];
    let text = undefined["message"]["text"].as_str().unwrap();
    assert!(text.ends_with("\n\nhelp: did you mean `token`?"), "{text}");
    // The characters that are meant, counted as the report says.
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    let region = &location(undefined)["region"];
    let number = |key: &str| usize::try_from(region[key].as_u64().unwrap()).unwrap();
    let definition = fs::read_to_string(place.at("shop/api_definitions/shop.yaml")).unwrap();
    let line = definition.lines().nth(number("startLine") - 1).unwrap();
    let (start, end) = (number("startColumn") - 1, number("endColumn") - 1);
    assert_eq!(line.chars().skip(start).take(end - start).collect::<String>(), "tokn");
    // What belongs to it has a place, too.
    let related = &results(&run)[3]["relatedLocations"][0];
    assert_eq!(related["message"]["text"], "the other one");
    assert_eq!(related["physicalLocation"]["artifactLocation"]["uri"], "shop/api_definitions/shop.yaml");
}

#[test]
fn paths_are_right_where_the_tool_was_started() {
    let place = Place::with_project("a b/ä,1:2%/shop", PROBLEMS);
    let (path, uri) = ("a b/ä,1:2%/shop", "a%20b/%C3%A4%2C1%3A2%25/shop");
    let file = format!("{uri}/api_definitions/shop.yaml");
    let root = fs::canonicalize(place.at("")).unwrap();
    let absolute = root.join(path);
    let absolute = absolute.to_str().unwrap();
    std::os::unix::fs::symlink(absolute, place.at("linked")).unwrap();
    fs::create_dir(place.at("elsewhere")).unwrap();
    let outside = format!("file://{}/{file}", root.display());
    for (directory, project, expected, category) in [
        ("", path, file.as_str(), format!("micro-gw/{uri}/")),
        ("", &format!("./{path}/"), &file, format!("micro-gw/{uri}/")),
        ("", absolute, &file, format!("micro-gw/{uri}/")),
        ("elsewhere/..", path, &file, format!("micro-gw/{uri}/")),
        ("", &format!("elsewhere/../{path}"), &file, format!("micro-gw/{uri}/")),
        ("", "linked", "linked/api_definitions/shop.yaml", "micro-gw/linked/".to_owned()),
        (path, ".", "api_definitions/shop.yaml", "micro-gw/".to_owned()),
        (path, "../shop", "api_definitions/shop.yaml", "micro-gw/".to_owned()),
        ("elsewhere", &format!("../{path}"), &outside, "micro-gw/shop/".to_owned()),
    ] {
        let run = place.sarif(directory, &["check", project]);
        assert_eq!(uris(&run), [expected], "{directory}: {project}");
        let relative = !expected.starts_with("file:");
        let artifact = &location(&results(&run)[0])["artifactLocation"];
        assert_eq!(artifact.get("uriBaseId").is_some(), relative, "{artifact}");
        assert_eq!(run["automationDetails"]["id"], category, "{directory}: {project}");
        if relative {
            let ended = place.report(directory, &["check", project, "--format", "json"]);
            let path = json(&ended.stdout)["diagnostics"][0]["location"]["path"].as_str().unwrap().to_owned();
            assert!(place.at(directory).join(&path).is_file(), "{path}");
            let ended = place.report(directory, &["check", project, "--format", "github"]);
            let commands = commands(&ended.stdout);
            assert_eq!(commands[0].property("file"), Some(path.as_str()));
        }
    }
    // Another file in the place of the project's own.
    place.write("other.toml", "[projekt]\n");
    let run = place.sarif("", &["check", "linked", "-d", "other.toml"]);
    assert!(uris(&run).contains(&"other.toml"), "{run}");
}

#[test]
fn reports_without_problems_are_reports() {
    let place = Place::with_project("shop", "paths: {/items: {get: {}}}\n");
    let run = place.sarif("", &["check", "shop"]);
    assert_eq!((results(&run).len(), &run["tool"]["driver"]["rules"]), (0, &Value::Array(Vec::new())));
    let ended = place.run(&["check", "shop", "--format", "github"]);
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), "", ""));
    // The artifact is built all the same, and said on stderr.
    for format in ["sarif", "github"] {
        let ended = place.run(&["build", "shop", "--format", format, "-o", format]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("artifact") && place.at(format).is_file(), "{}", ended.stderr);
    }
    let report = json(&place.succeeds(&["build", "shop", "--format", "json"]));
    assert_eq!((&report["project"], &report["diagnostics"]), (&"shop".into(), &Value::Array(Vec::new())));
}

#[test]
fn problems_without_a_place_have_a_file_that_code_scanning_takes() {
    let place = Place::new();
    fs::create_dir(place.at("empty")).unwrap();
    let run = place.sarif("", &["build", "empty"]);
    assert_eq!(uris(&run), ["empty/conf/deployment-config.toml"]);
    let ended = place.run(&["check", "empty", "--format", "github"]);
    assert_eq!((ended.code, commands(&ended.stdout)[0].property("file")), (Some(1), None));
}

/// Its record has commands, not files: here they are.
#[test]
fn what_lies_outside_the_project_is_a_problem() {
    let place = Place::with_project("shop", "paths: {/items: {get: {}}}\n");
    let petstore = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/petstore/swagger.json");
    let link = place.at("shop/api_definitions/petstore.json");
    std::os::unix::fs::symlink(petstore, &link).unwrap();
    let run = place.sarif("", &["check", "shop"]);
    let found: Vec<_> = results(&run).iter().map(|result| result["ruleId"].as_str().unwrap()).collect();
    assert_eq!((found, uris(&run)), (vec!["MGW-0101"], vec!["shop/api_definitions/petstore.json"]));
    fs::remove_file(&link).unwrap();
    fs::copy(petstore, &link).unwrap();
    assert!(results(&place.sarif("", &["check", "shop"])).is_empty());
}

#[test]
fn fingerprints_stay_with_their_problems() {
    let fingerprints = |definition: &str| {
        let run = Place::with_project("shop", definition).sarif("", &["check", "shop"]);
        let of = |result: &Value| result["partialFingerprints"]["microgwProblem/v1"].as_str().unwrap().to_owned();
        results(&run).iter().map(of).collect::<Vec<_>>()
    };
    let first = fingerprints(PROBLEMS);
    let mut distinct = first.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 3);
    assert_eq!(fingerprints(&format!("# one line more\n{PROBLEMS}")), first);
    // Two of a kind.
    let twice = fingerprints("paths: {/a: {psot: {}, get: {}}, /b: {get: {x-scope: [a]}, put: {x-scope: [a]}}}\n");
    assert_eq!(twice.len(), 3);
    assert_eq!(twice[1].replace(":1", ""), twice[2].replace(":2", ""));
}

/// A workflow command, as the runner reads it.
struct Workflow {
    command: String,
    properties: BTreeMap<String, String>,
    message: String,
}

impl Workflow {
    fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }
}

fn commands(text: &str) -> Vec<Workflow> {
    let data = |text: &str| text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%");
    let property = |text: &str| data(&text.replace("%3A", ":").replace("%2C", ","));
    let read = |line: &str| {
        let (head, message) = line.strip_prefix("::").unwrap().split_once("::").unwrap();
        let (command, properties) = head.split_once(' ').unwrap();
        let properties = properties.split(',').map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            (name.to_owned(), property(value))
        });
        Workflow { command: command.to_owned(), properties: properties.collect(), message: data(message) }
    };
    text.lines().map(read).collect()
}

#[test]
fn workflow_commands_say_where_and_what() {
    let place = Place::with_project("shop", PROBLEMS);
    place.write("shop/api_definitions/rest.yaml", "A: {}\n");
    let ended = place.run(&["check", "shop", "--format", "github"]);
    assert_eq!(ended.code, Some(1));
    let commands = commands(&ended.stdout);
    let kinds: Vec<&str> = commands.iter().map(|found| found.command.as_str()).collect();
    assert_eq!(kinds, ["notice", "error", "warning", "error"]);
    let undefined = &commands[1];
    assert_eq!(undefined.property("title"), Some("MGW-0401 undefined-scheme"));
    let at = ["line", "endLine", "col", "endColumn"].map(|name| undefined.property(name).unwrap());
    assert_eq!(at, ["5", "5", "34", "38"]);
    assert_eq!(undefined.message, "the security scheme `tokn` is not declared\nhelp: did you mean `token`?");
    let doubled = &commands[3].message;
    assert!(doubled.contains("/ä/{b}") && doubled.contains("shop/api_definitions/shop.yaml:5:"), "{doubled}");
    // What comes from a definition cannot end its line, or begin another command.
    let place = Place::with_project("shop", "paths: {\"/a%0A\\r\\n::error::,x\": {get: {}}}\n");
    let ended = place.run(&["check", "shop", "--format", "github"]);
    assert_eq!(ended.stdout.lines().count(), 1, "{}", ended.stdout);
    assert!(self::commands(&ended.stdout)[0].message.contains("/a%0A\r\n::error::,x"), "{}", ended.stdout);
}

#[test]
fn settings_that_stop_a_preflight_are_in_the_report() {
    let place = Place::with_project("shop", "paths: {/items: {get: {}}}\n");
    place.write("shop/conf/micro-gw.conf", "[listenerConfig]\nhttpPort = 80800\n");
    let run = place.sarif("", &["build", "shop", "--preflight"]);
    assert_eq!(uris(&run), ["shop/conf/micro-gw.conf"]);
    assert_eq!(
        (&results(&run)[0]["ruleId"], &location(&results(&run)[0])["region"]["startLine"]),
        (&"MGW-0904".into(), &2.into())
    );
    let ended = place.run(&["build", "shop", "--preflight", "--adminConfig.address=x", "--format", "json"]);
    let problems = json(&ended.stdout)["diagnostics"].clone();
    assert_eq!((ended.code, problems.as_array().unwrap().len()), (Some(1), 2));
    assert!(problems.to_string().contains("the command line") && !place.at("shop/target").exists(), "{problems}");
    // For people as everywhere else.
    let stderr = place.run(&["build", "shop", "--preflight"]).stderr;
    assert!(stderr.contains("error[MGW-0904]") && stderr.contains("explain-code MGW-0904"), "{stderr}");
}
