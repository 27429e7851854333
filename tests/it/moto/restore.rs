//! A backup of functions in moto, and their way back into it.

use serde_json::json;

use super::packages;
use super::server::{Moto, REGION};
use super::venv::Venv;
use crate::harness::Ran;

fn restore(moto: &Moto, dir: &std::path::Path, arguments: &[&str]) -> Ran {
    let mut all = vec![
        "restore",
        "--store",
        "store",
        "--to-lambda",
        "--output",
        "json",
    ];
    all.extend(["--max-rate", "1000", "--region", REGION]);
    all.extend(arguments);
    moto.larder(dir, &all)
}

#[test]
fn what_was_deployed_comes_back_after_it_was_deleted() {
    let Some(venv) = Venv::get() else { return };
    for moto in Moto::both() {
        let dir = tempfile::tempdir().unwrap();
        let package = packages::python(venv, dir.path());
        let name = format!("restored-{:?}", moto.mode).to_lowercase();
        moto.deploy(&name, &package);
        moto.call("lambda", "publish_version", json!({"FunctionName": name}));
        let alias = json!({"FunctionName": name, "Name": "live", "FunctionVersion": "1"});
        moto.call("lambda", "create_alias", alias);
        let get = || moto.call("lambda", "get_function", json!({"FunctionName": name}));
        let before = get();
        moto.larder(
            dir.path(),
            &["backup", "--store", "store", "--max-rate", "1000", &name],
        )
        .expect(0);
        moto.call("lambda", "delete_function", json!({"FunctionName": name}));
        let plan = restore(moto, dir.path(), &[&name]).expect(0).json();
        assert_eq!(plan["target"]["exists"], false);
        let plan = restore(moto, dir.path(), &["--yes", "--versions", "all", &name])
            .expect(0)
            .json();
        assert_eq!(plan["done"], true, "{plan}");
        let after = get();
        for field in [
            "CodeSha256",
            "CodeSize",
            "Runtime",
            "Handler",
            "Role",
            "Environment",
            "MemorySize",
            "Timeout",
        ] {
            assert_eq!(
                after["Configuration"][field], before["Configuration"][field],
                "{field}"
            );
        }
        assert_eq!(after["Tags"], before["Tags"]);
        let alias = json!({"FunctionName": name, "Name": "live"});
        assert_eq!(
            moto.call("lambda", "get_alias", alias)["FunctionVersion"],
            "1"
        );
        // moto keeps no object at its location; what it was sent is what it hashed.
        moto.serve(&name, &package.zip);
        moto.larder(dir.path(), &["fetch", &name, "back"]).expect(0);
        moto.larder(dir.path(), &["restore", "--store", "store", &name, "kept"])
            .expect(0);
        for file in ["package.zip", "code"] {
            let same = std::process::Command::new("diff")
                .args(["-r", &format!("back/{file}"), &format!("kept/{file}")])
                .current_dir(dir.path())
                .status()
                .unwrap();
            assert!(same.success(), "{file}");
        }
        let again = restore(moto, dir.path(), &["--yes", &name])
            .expect(0)
            .json();
        assert_eq!(again["steps"], json!([]), "{again}");
        // It was changed since: it is rolled back.
        let change = json!({"FunctionName": name, "MemorySize": 512});
        moto.call("lambda", "update_function_configuration", change);
        restore(moto, dir.path(), &["--yes", &name]).expect(0);
        assert_eq!(
            get()["Configuration"]["MemorySize"],
            before["Configuration"]["MemorySize"]
        );
    }
}
