//! WebAssembly's vector instructions: the host has them, and new projects use
//! them.

use std::fs;

use tigerflow_tests::{Bench, finish, guest, host};

use crate::projects::build;

#[test]
fn vector_instructions_do_what_they_should() {
    let bench = Bench::new();
    // Every byte in every lane, and some that fill no vector.
    let bytes: Vec<u8> = (0..=255_u8).flat_map(|byte| [byte; 17]).chain(*b"the rest").collect();
    bench.add("a.txt", &bytes);
    bench.run(&guest("simd"), &[]).expect(0);
    let output = fs::read(bench.output().join("a.out")).expect("the output is there");
    assert_eq!(output, bytes.to_ascii_uppercase());
}

/// A source that compilers refuse without them is built.
#[test]
fn new_projects_have_vector_instructions() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let checks = [
        (
            "rust",
            "src/lib.rs",
            "#[cfg(not(target_feature = \"simd128\"))]\ncompile_error!(\"none\");\n",
        ),
        ("c", "c.c", "#ifndef __wasm_simd128__\n#error none\n#endif\n"),
    ];
    for (language, file, check) in checks {
        let project = place.path().join(language);
        finish(host().args(["new", "--lang", language]).arg(&project)).expect(0);
        let file = project.join(file);
        let source = fs::read_to_string(&file).expect("the template's source");
        fs::write(&file, source + check).expect("written");
        finish(build().arg(&project)).expect(0);
    }
}
