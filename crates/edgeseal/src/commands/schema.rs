//! `edgeseal schema`: the JSON Schema of the experiments file, for editors and for checks in CI.

use edgeseal_core::definition::Definition;
use schemars::Schema;
use schemars::generate::SchemaSettings;

use crate::exit::{Exit, Outcome};
use crate::output::Output;

/// Prints the schema (JSON Schema 2020-12).
pub(crate) fn run(output: Output) -> Outcome {
    output.json(&schema())?;
    Ok(Exit::Ok)
}

fn schema() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Definition>()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::experiments_file;

    #[test]
    fn the_schema_accepts_what_strangers_clients_are_tested_against() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../interop/experiments.yaml");
        let validator = jsonschema::validator_for(schema().as_value()).unwrap();
        let file = experiments_file::yaml_value(&std::fs::read_to_string(path).unwrap());
        assert!(validator.is_valid(&file), "{:?}", validator.iter_errors(&file).next());
    }

    #[test]
    fn the_schema_accepts_the_sample_and_refuses_typos() {
        let validator = jsonschema::validator_for(schema().as_value()).unwrap();
        let sample = experiments_file::yaml_value(experiments_file::DEMO);
        let faults: Vec<String> = validator.iter_errors(&sample).map(|error| error.to_string()).collect();
        assert_eq!(faults, Vec::<String>::new());
        for (pointer, typo) in [
            ("/experiments/0", json!({ "key": "a", "varaints": [] })),
            ("/experiments/0/state", json!("runing")),
            ("/experiments/0/variants/0/weight", json!(-1)),
            ("/experiments/2/traffic", json!("120%")),
            ("/holdouts/0/size", json!(true)),
        ] {
            let mut bad = sample.clone();
            *bad.pointer_mut(pointer).unwrap() = typo;
            assert!(!validator.is_valid(&bad), "{pointer}");
        }
    }
}
