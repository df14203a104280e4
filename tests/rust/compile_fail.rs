//! What the types of `src/process` forbid does not compile: each file of `compile_fail/` is compiled with the shipped source,
//! and must fail with the error that its first line names. The file that names none must compile.

#![allow(clippy::unwrap_used)]

use std::{env, fs, path::Path, process::Command};

/// The standard error of rustc, and whether the file compiled.
fn compile(file: &Path) -> (bool, String) {
    let out = env::temp_dir().join(format!("wakefd-compile-fail-{}.rmeta", std::process::id()));
    let done = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args([
            "--edition=2024",
            "--crate-type=lib",
            "--emit=metadata",
            "-Aunused",
            "-Adead_code",
            "-Aunexpected_cfgs",
            "-o",
        ])
        .args([out.as_path(), file])
        .output()
        .unwrap();
    let _ = fs::remove_file(out);
    (
        done.status.success(),
        String::from_utf8_lossy(&done.stderr).into_owned(),
    )
}

#[test]
fn what_the_types_forbid_does_not_compile() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rust/compile_fail");
    let mut controls = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let text = fs::read_to_string(&file).unwrap();
        let expected = text.lines().next().unwrap().strip_prefix("// error: ");
        let (compiles, errors) = compile(&file);
        let file = file.display();
        match expected {
            None => assert!(
                compiles,
                "{file} does not compile, so the others show nothing:\n{errors}"
            ),
            Some(code) => {
                assert!(!compiles, "{file} compiles");
                assert!(
                    errors.contains(&format!("error[{code}]")),
                    "{file} does not fail with {code}:\n{errors}"
                );
                assert_eq!(
                    errors.matches("error[").count(),
                    1,
                    "{file} fails for another reason, too:\n{errors}"
                );
            }
        }
        controls += usize::from(expected.is_none());
    }
    assert_eq!(controls, 1);
}
