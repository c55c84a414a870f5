#![no_main]
//! A path is refused, or has one reading: itself.

use libfuzzer_sys::fuzz_target;
use ownergate::decide::RequestPath;

fuzz_target!(|text: &str| {
    if let Ok(path) = RequestPath::parse(text) {
        assert_eq!(path.as_str(), text);
        assert!(!text.contains("//") && !text.contains('\\') && !text.contains(';'));
        for place in 0..path.segments().count() {
            let segment = path.decoded(place).expect("as many as there are");
            assert!(segment != "." && segment != ".." && !segment.contains(['/', '\\', ';', '\0']));
        }
    }
});
