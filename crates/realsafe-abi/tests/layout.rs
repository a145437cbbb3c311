//! A C compiler that reads `realsafe_plugin.h` lays every struct out as Rust does.

use std::fmt::Write as _;
use std::mem::{offset_of, size_of};
use std::path::Path;
use std::process::Command;

use realsafe_abi::*;

/// What the C program has to print, and the C statements that print it. Patterns make sure that no field is missing.
macro_rules! layouts {
    ($($name:ident { $($field:ident),* $(,)? })*) => {
        fn layouts() -> (String, String) {
            let (mut expected, mut statements) = (String::new(), String::new());
            $(
                let _ = |whole: $name| { let $name { $($field: _),* } = whole; };
                let name = stringify!($name);
                writeln!(expected, "{name} {}", size_of::<$name>()).unwrap();
                writeln!(statements, "    printf(\"{name} %zu\\n\", sizeof({name}));").unwrap();
                $(
                    let field = stringify!($field);
                    writeln!(expected, "{name}.{field} {}", offset_of!($name, $field)).unwrap();
                    writeln!(statements, "    printf(\"{name}.{field} %zu\\n\", offsetof({name}, {field}));").unwrap();
                )*
            )*
            (expected, statements)
        }
    };
}

layouts! {
    RealsafeText { data, length }
    RealsafeShape { size, channels, height, width, classes }
    RealsafeParameter {
        size, kind, name, unit, documentation, fallback_kind, fallback, minimum, maximum, choices, choice_count,
    }
    RealsafeValue { size, kind, count, number, numbers, number_count, text, bytes, byte_count }
    RealsafeCost { queries, forwards, backwards }
    RealsafePlan { size, steps, start, step }
    RealsafeProblem { size, norm, goal, surrogates, shape }
    RealsafeBatch { size, rows, images, labels, targets, eps, samples, restart, step }
    RealsafeHost {
        size, minor, context, labels, scores, gradient, forward, pull, discard, random, stream_seed, steepest, project,
        remaining, cancelled, log, set_error,
    }
    RealsafeAttack {
        size, access, surrogates, norms, goals, minimises_distance, plan, create, destroy, state_bytes, start, step,
    }
    RealsafeDefense { size, gradient, create, destroy, forward, pull }
    RealsafeModel { size, shape, create, destroy, logits, pull }
    RealsafeLoss { size, create, destroy, evaluate }
    RealsafeComponent {
        size, kind, revision, id, documentation, example, parameters, parameter_count, interface,
    }
    RealsafePlugin {
        size, magic, major, minor, needs_minor, name, version, licence, documentation, components, component_count,
        homepage,
    }
}

#[test]
fn c_lays_structs_out_as_rust_does() {
    let (expected, statements) = layouts();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, program) = (directory.join("layout.c"), directory.join("layout"));
    // The header comes first, so that it is seen to stand on its own; the text must be a constant initialiser.
    let text = format!(
        "#include \"realsafe_plugin.h\"\n#include <stddef.h>\n#include <stdio.h>\n\n\
         static const RealsafeText text = REALSAFE_LITERAL(\"three\");\n\n\
         int main(void) {{\n{statements}    printf(\"text %d\\n\", (int) text.length);\n    return 0;\n}}\n"
    );
    std::fs::write(&source, text).unwrap();
    let compiled = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I", env!("CARGO_MANIFEST_DIR")])
        .args([&source, Path::new("-o"), &program])
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let printed = Command::new(&program).output().unwrap();
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), format!("{expected}text 5\n"));
}
