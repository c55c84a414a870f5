//! Strict base64url (RFC 7515 §2): no padding, no white space, no other alphabet, no bits left over.

use base64::{DecodeError, Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// Decodes the one spelling of a byte string; every other is refused.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, DecodeError> {
    URL_SAFE_NO_PAD.decode(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn row_82_every_other_spelling_is_refused() {
        // RFC 7515 appendix C.
        assert_eq!(decode("A-z_4ME"), Ok(vec![3, 236, 255, 224, 193]));
        assert_eq!(decode(""), Ok(vec![]));
        for text in
            ["A-z_4ME=", "A-z_4MF", "A-z_4M=E", "A+z/4ME", "A-z_4ME\n", " A-z_4ME", "A-z _4ME", "A", "A-z_4ME.", "é"]
        {
            assert!(decode(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_decodes_has_no_second_spelling(text in "[A-Za-z0-9_=+/-]{0,12}") {
            if let Ok(bytes) = decode(&text) {
                prop_assert_eq!(URL_SAFE_NO_PAD.encode(bytes), text);
            }
        }
    }
}
