//! Ed25519 public keys that aws-lc takes and that must not be taken.

use super::key::MaterialFault;

/// The length of an encoded point (RFC 8032 §5.1.2).
pub(super) const BYTES: usize = 32;

/// `y` of the points whose order divides 8, least byte first: orders 4, 1, 8, 8 and 2.
const SMALL_ORDER: [[u8; BYTES]; 5] = [
    [0; BYTES],
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
];

/// Refuses encodings that are not canonical and points of small order (RFC 8032 §5.1.3, RFC 8037 §5).
///
/// Whether the rest lies on the curve shows only when a signature is checked: under a point that does not, none
/// verifies.
pub(super) fn check(encoding: &[u8]) -> Result<(), MaterialFault> {
    let mut y = encoding.to_vec();
    if let Some(last) = y.last_mut() {
        // The top bit is the sign of x.
        *last &= 0x7f;
    }
    if !is_below_prime(&y) {
        return Err(MaterialFault::PointNotCanonical);
    }
    if SMALL_ORDER.iter().any(|small| *small == *y) { Err(MaterialFault::PointSmallOrder) } else { Ok(()) }
}

/// Whether `y` is below 2^255 - 19, whose encoding is `ed ff … ff 7f`.
fn is_below_prime(y: &[u8]) -> bool {
    match y {
        [first, middle @ .., last] => *first < 0xed || *last != 0x7f || middle.iter().any(|byte| *byte != 0xff),
        [] | [_] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(first: u8, middle: u8, last: u8) -> [u8; BYTES] {
        let mut point = [middle; BYTES];
        point[0] = first;
        point[BYTES - 1] = last;
        point
    }

    #[test]
    fn points_of_small_order_are_refused_with_either_sign() {
        for mut encoding in SMALL_ORDER {
            assert_eq!(check(&encoding), Err(MaterialFault::PointSmallOrder), "{encoding:x?}");
            encoding[BYTES - 1] |= 0x80;
            assert_eq!(check(&encoding), Err(MaterialFault::PointSmallOrder), "{encoding:x?}");
        }
    }

    #[test]
    fn second_spellings_of_a_point_are_refused() {
        for first in 0xed..=0xff {
            for last in [0x7f, 0xff] {
                assert_eq!(
                    check(&point(first, 0xff, last)),
                    Err(MaterialFault::PointNotCanonical),
                    "{first:x} {last:x}"
                );
            }
        }
        for ordinary in [point(0xeb, 0xff, 0x7f), point(0xff, 0xfe, 0x7f), point(0xff, 0xff, 0x7e), point(2, 0, 0)] {
            assert_eq!(check(&ordinary), Ok(()), "{ordinary:x?}");
        }
    }
}
