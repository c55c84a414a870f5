//! Any text at all is read to its end.

use proptest::{prelude::*, string::string_regex};

use crate::kit::toml;

/// Keys and values of the real thing, in no order, so that readers are reached and not the parser alone.
fn nearly() -> impl Strategy<Value = String> {
    let keys =
        "server|limits|issuer|upstream|route|identity|listen|url|jwks|path|access|claims|token_from|cors|tls|name";
    let values =
        r#""[a-z/{}*:.]{0,12}"|-?[0-9]{1,20}|0x|true|1e400|nan|\[\]|\{\}|\["a", 1\]|\{ owner = "a" \}|1979-05-27"#;
    let line = format!(r"(({keys})(\.({keys}))? = ({values})|\[({keys})(\.({keys}))?\]|\[\[({keys})\]\])\n");
    let line = string_regex(&line).expect("a regular expression");
    proptest::collection::vec(line, 0..12).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn no_text_makes_loading_panic(text in any::<String>()) {
        let _ = toml(&text).load();
    }

    #[test]
    fn nothing_that_resembles_a_configuration_makes_loading_panic(text in nearly()) {
        if let Err(faults) = toml(&text).load() {
            prop_assert!(!faults.is_empty());
        }
    }

    #[test]
    fn a_place_is_within_the_file(text in nearly()) {
        for fault in toml(&text).load().err().unwrap_or_default() {
            if let ownergate::config::Place::File { line, column, .. } = fault.place {
                let columns = text.split('\n').nth(line - 1).map(|line| line.chars().count());
                prop_assert!(columns.is_some_and(|columns| (1..=columns + 1).contains(&column)), "{line}:{column}");
            }
        }
    }
}
