//! Public clients in Python, which tests/clients/fetch installs.

use std::process::Command;

use super::served::Served;
use super::trained;
use crate::common::repository;

#[test]
fn public_clients_are_served() {
    let python = repository().join("target/clients/bin/python");
    if !python.is_file() {
        eprintln!("skipped: there is no {}; tests/clients/fetch makes it, as ./check does", python.display());
        return;
    }
    let place = trained();
    let served = Served::with_keys(&place, "--gallery gallery", Some("a-key"));
    let script = repository().join("tests/clients/ask.py");
    let ran = Command::new(python).arg(script).args([&served.url, "a-key"]).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && said.contains("all answered"), "{said}");
    served.end();
}
