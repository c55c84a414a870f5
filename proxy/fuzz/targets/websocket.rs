#![no_main]
//! Frames end where RFC 6455 §5.2 says, however their bytes are cut.

use libfuzzer_sys::fuzz_target;

// It is no part of the library's surface.
#[allow(dead_code)]
#[path = "../../src/serve/websocket.rs"]
mod websocket;

use websocket::Frames;

/// The lengths of the whole frames that stand at the beginning, by the whole header at once.
fn whole_frames(mut bytes: &[u8]) -> (Vec<usize>, bool) {
    let (mut lengths, mut closed) = (Vec::new(), false);
    while let [first, second, rest @ ..] = bytes {
        closed |= first & 0xf == 8;
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(length) = rest.get(..extended) else { break };
        let payload = match extended {
            0 => u128::from(second & 0x7f),
            _ => length.iter().fold(0, |length, byte| length << 8 | u128::from(*byte)),
        };
        let key = if second & 0x80 == 0 { 0 } else { 4 };
        let whole = 2 + extended as u128 + key + payload;
        let Some(left) = usize::try_from(whole).ok().and_then(|whole| bytes.get(whole..)) else { break };
        lengths.push(bytes.len() - left.len());
        bytes = left;
    }
    // A first byte alone tells the frame's kind.
    (lengths, closed || matches!(bytes, [first] if first & 0xf == 8))
}

fuzz_target!(|data: (&[u8], u8)| {
    let (bytes, piece) = data;
    let (lengths, closed) = whole_frames(bytes);
    let (mut at_once, mut in_pieces, mut alone) = (Frames::default(), Frames::default(), Frames::default());
    at_once.pass(bytes);
    bytes.chunks(usize::from(piece).max(1)).for_each(|piece| in_pieces.pass(piece));
    let whole: usize = lengths.iter().sum();
    for frames in [&at_once, &in_pieces] {
        assert_eq!((frames.at_boundary(), frames.is_closed()), (whole == bytes.len(), closed));
    }
    let mut rest = bytes;
    for length in lengths {
        assert_eq!(alone.pass_frame(rest), length);
        assert!(alone.at_boundary());
        rest = &rest[length..];
    }
    assert_eq!(alone.pass_frame(rest), rest.len());
});
