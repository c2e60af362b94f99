//! Every refusal of an experiments file names the line, and says what is wrong in the words of the file.

use crate::common::{Scratch, run};

/// (what the file says, where the fault is, words of the reason)
const BAD_YAML: &[(&str, &str, &[&str])] = &[
    ("", "1:1", &["empty"]),
    ("experiments: [\n", "2:1", &["not valid YAML"]),
    ("experiments:\n\t- key: a\n", "2:", &["not valid YAML"]),
    ("enviroment: production\n", "1:1", &["unknown member 'enviroment'", "'environment'"]),
    ("experiments:\n  - key: a\n    varaints: []\n", "3:5", &["unknown member 'varaints'", "'variants'"]),
    ("experiments:\n  - key: a\n    traffic: 10\n", "2:5", &["'variants' is missing"]),
    (
        "experiments:\n  - key: a\n    state: runing\n    variants: [{ key: x }]\n",
        "3:12",
        &["'runing'", "'running'"],
    ),
    (
        "experiments:\n  - key: a\n    sticky: maybe\n    variants: [{ key: x }]\n",
        "3:13",
        &["true or false", "maybe"],
    ),
    (
        "experiments:\n  - key: a\n    traffic: 120\n    variants: [{ key: x }]\n",
        "3:14",
        &["'120'", "0 to 100"],
    ),
    ("experiments:\n  - key: a\n    variants: [{ key: x, weight: -1 }]\n", "3:34", &["whole number", "-1"]),
    ("experiments:\n  - key: a\n    variants: { key: x }\n", "3:15", &["'variants' must be a list"]),
    ("experiments:\n  - key: a b\n    variants: [{ key: x }]\n", "2:10", &["'a b'", "letters"]),
    ("experiments:\n  - key: a\n    key: b\n", "3:5", &["'key' is given twice", "keep one"]),
    ("experiments:\n  - key: a\n    variants: []\n", "3:15", &["no variants"]),
    ("experiments:\n  - key: a\n    variants: [{ key: x }, { key: x }]\n", "3:", &["'x'", "twice"]),
    ("experiments:\n  - key: a\n    variants: [{ key: x, weight: 0 }]\n", "3:15", &["weights are zero"]),
    (
        "experiments:\n  - key: a\n    layer: { key: none, share: 5 }\n    variants: [{ key: x }]\n",
        "3:",
        &["layer 'none'"],
    ),
    (
        "experiments:\n  - key: b\n    variants: [{ key: x }]\n  - key: a\n    winner: y\n    state: stopped\n    variants: [{ key: x }]\n",
        "5:",
        &["'y'"],
    ),
    (
        "experiments:\n  - key: a\n    audience:\n      plan: { $foo: 1 }\n    variants: [{ key: x }]\n",
        "4:",
        &["$foo"],
    ),
    (
        "experiments:\n  - key: a\n    audience:\n      plan: { $inGroup: nobody }\n    variants: [{ key: x }]\n",
        "4:",
        &["nobody"],
    ),
    (
        "experiments:\n  - key: a\n    audience:\n      mail: { $regex: '(' }\n    variants: [{ key: x }]\n",
        "4:",
        &["regular expression"],
    ),
    ("groups: { g: [007] }\n", "1:15", &["leading zero"]),
    ("a: &a [x, x]\nb: *c\n", "2:", &["not valid YAML"]),
    ("---\nexperiments: []\n---\nexperiments: []\n", "3:1", &["second document"]),
    ("? [a]\n: b\n", "1:3", &["member name"]),
];

const BAD_JSON: &[(&str, &str, &[&str])] = &[
    ("{\"experiments\": [}", "1:18", &["not valid JSON"]),
    ("{\n  \"environment\": \"a\",\n  \"environment\": \"b\"\n}", "3:3", &["'environment' appears twice"]),
    (
        "{\n  \"experiments\": [\n    { \"key\": \"a\", \"variants\": [], \"x\": 1 }\n  ]\n}",
        "3:35",
        &["unknown member 'x'"],
    ),
    (
        "{ \"experiments\": [{ \"key\": \"a\", \"variants\": [{ \"key\": 7 }] }] }",
        "1:55",
        &["must be a text"],
    ),
];

#[track_caller]
fn refused(scratch: &Scratch, name: &str, text: &str, place: &str, words: &[&str]) {
    let path = scratch.write(name, text);
    let finished = run(&["snapshot", "check", path.to_str().unwrap()]);
    let message = &finished.stderr;
    assert_eq!(finished.code, 1, "accepted or crashed: {text:?}\n{message}");
    assert!(message.contains(&format!("{}:{place}", path.display())), "{text:?}\n{message}");
    for word in words {
        assert!(message.contains(word), "'{word}' is missing for {text:?}\n{message}");
    }
    for jargon in ["struct", "u32", "f64", "serde", "Error", "`"] {
        assert!(!message.contains(jargon), "'{jargon}' for {text:?}\n{message}");
    }
}

#[test]
fn bad_yaml_is_refused_with_its_line() {
    let scratch = Scratch::new();
    for (text, place, words) in BAD_YAML {
        refused(&scratch, "bad.yaml", text, place, words);
    }
}

#[test]
fn bad_json_is_refused_with_its_line() {
    let scratch = Scratch::new();
    for (text, place, words) in BAD_JSON {
        refused(&scratch, "bad.json", text, place, words);
    }
}

#[test]
fn what_would_fill_memory_is_refused() {
    let scratch = Scratch::new();
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let before = format!("*a{}", level - 1);
        laughs += &format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", "));
    }
    refused(&scratch, "laughs.yaml", &laughs, "", &["more than 1000000 values"]);
    refused(&scratch, "deep.yaml", &"[".repeat(5_000), "", &[]);
    refused(&scratch, "deep.json", &"[".repeat(1_000_000), "1:66", &["deeper"]);
    let tail = format!("{{\"a\": 1, \"a\": {}", "[".repeat(1_000_000));
    refused(&scratch, "tail.json", &tail, "1:10", &["twice"]);
    let path = scratch.write("large.yaml", &"# much\n".repeat(700_000));
    assert!(run(&["snapshot", "check", path.to_str().unwrap()]).expect(3).stderr.contains("larger than"));
    std::fs::write(scratch.path("latin.yaml"), b"environment: caf\xe9\n").unwrap();
    let latin = run(&["snapshot", "check", scratch.path("latin.yaml").to_str().unwrap()]).expect(1);
    assert!(latin.stderr.contains("latin.yaml:1:17: the file is not UTF-8"), "{}", latin.stderr);
}

#[test]
fn the_sample_is_good_and_yaml_and_json_build_the_same_snapshot() {
    let scratch = Scratch::new();
    let yaml = scratch.write("sample.yaml", &run(&["snapshot", "example"]).expect(0).stdout);
    let checked = run(&["snapshot", "check", "--json", yaml.to_str().unwrap()]).expect(0).json();
    assert_eq!(
        (&checked["experiments"], &checked["layers"], &checked["holdouts"]),
        (&4.into(), &1.into(), &1.into())
    );

    let text = "environment: staging\nexperiments: [{ key: a, traffic: 12.5, variants: [{ key: x, payload: { n: 1.5, t: ~ } }] }]\n";
    let json = "{ \"environment\": \"staging\", \"experiments\": [{ \"key\": \"a\", \"traffic\": 12.5,\n  \"variants\": [{ \"key\": \"x\", \"payload\": { \"n\": 1.5, \"t\": null } }] }] }";
    let build = |name: &str, text: &str| {
        let path = scratch.write(name, text);
        let mut snapshot = run(&["snapshot", "build", path.to_str().unwrap()]).expect(0).json();
        snapshot["iat"].take();
        snapshot
    };
    assert_eq!(build("same.yaml", text), build("same.json", json));
}

#[test]
fn evaluate_explains_itself() {
    let scratch = Scratch::new();
    let data_dir = scratch.data_dir();
    let base = ["evaluate", "--demo", "--unit", "user-1", "--data-dir", data_dir.to_str().unwrap()];
    let with = |more: &[&str]| run(&[&base[..], more].concat());
    let report = with(&["--json"]).expect(0).json();
    assert_eq!(report["assignments"].as_array().unwrap().len(), 4);
    let explained = with(&["--explain", "--experiment", "pricing-page"]).expect(0);
    assert!(
        explained.stdout.contains("audience") || explained.stdout.contains("holdout"),
        "{}",
        explained.stdout
    );
    assert!(with(&["--experiment", "nope"]).expect(2).stderr.contains("checkout-button"));
    assert!(with(&["--attributes", "[1]"]).expect(2).stderr.contains("--attributes"));
    let attributes = scratch.write("attributes.json", "{\"country\": \"NL\", \"plan\": \"free\"}");
    with(&["--attributes", &format!("@{}", attributes.display())]).expect(0);
    let nothing = run(&["evaluate", "--unit", "user-1", "--data-dir", data_dir.to_str().unwrap()]);
    assert!(nothing.expect(2).stderr.contains("--experiments"));
}
