//! WebSocket framing (RFC 6455 §5), as much of it as is needed to say goodbye: where one frame ends and the next may
//! begin, and the frame that closes. Payloads are not looked at.

/// Where in the frames of one direction its bytes have come to.
#[derive(Debug, Default)]
pub(super) struct Frames {
    place: Place,
    closed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Between two frames.
    #[default]
    Boundary,
    /// Before a frame's second byte.
    Second,
    /// In its extended length: bytes of it to come, and their value so far.
    Length { left: u8, value: u64, masked: bool },
    /// So many bytes, masking key and payload, before its end.
    Content(u64),
}

/// Why the proxy closes a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// The caller's token is no longer accepted.
    TokenExpired,
    /// The proxy is about to end.
    GoingAway,
}

const CLOSE: u8 = 0x8;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
const MASKING_KEY_BYTES: u64 = 4;

impl Frames {
    /// Follows bytes that have passed.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let passed = self.pass_frame(bytes);
            bytes = bytes.get(passed..).unwrap_or_default();
        }
    }

    /// Follows the bytes of one frame alone, to its end or to theirs, and returns how many these are.
    pub(super) fn pass_frame(&mut self, bytes: &[u8]) -> usize {
        for (passed, byte) in bytes.iter().enumerate() {
            if let Place::Content(left) = self.place {
                let ahead = bytes.len() - passed;
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(ahead);
                self.content(left - taken as u64);
                return passed + taken;
            }
            self.pass_header(*byte);
            if self.place == Place::Boundary {
                return passed + 1;
            }
        }
        bytes.len()
    }

    /// Whether another frame may begin here.
    pub(super) fn at_boundary(&self) -> bool {
        self.place == Place::Boundary
    }

    /// Whether a close frame has passed: nothing may follow it (RFC 6455 §5.5.1).
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    fn pass_header(&mut self, byte: u8) {
        match self.place {
            Place::Boundary | Place::Content(_) => {
                self.closed |= byte & 0xf == CLOSE;
                self.place = Place::Second;
            }
            Place::Second => {
                let masked = byte & MASKED != 0;
                match byte & !MASKED {
                    126 => self.place = Place::Length { left: 2, value: 0, masked },
                    127 => self.place = Place::Length { left: 8, value: 0, masked },
                    length => self.begin_content(length.into(), masked),
                }
            }
            Place::Length { left, value, masked } => {
                let value = value << 8 | u64::from(byte);
                match left - 1 {
                    0 => self.begin_content(value, masked),
                    left => self.place = Place::Length { left, value, masked },
                }
            }
        }
    }

    fn begin_content(&mut self, length: u64, masked: bool) {
        self.content(if masked { length.saturating_add(MASKING_KEY_BYTES) } else { length });
    }

    fn content(&mut self, left: u64) {
        self.place = if left == 0 { Place::Boundary } else { Place::Content(left) };
    }
}

impl Farewell {
    /// The close frame that says so: masked towards a server, not masked towards a client (RFC 6455 §5.1).
    pub(super) fn frame(self, masking_key: Option<[u8; 4]>) -> Vec<u8> {
        // RFC 6455 §7.4.1: policy violation; going away.
        let (code, reason): (u16, &str) = match self {
            Self::TokenExpired => (1008, "token expired"),
            Self::GoingAway => (1001, "going away"),
        };
        let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
        let mask = if masking_key.is_some() { MASKED } else { 0 };
        // Both reasons are far below the 125 bytes that a control frame may have.
        let mut frame = vec![FINAL | CLOSE, mask | payload.len() as u8];
        let key = masking_key.unwrap_or_default();
        frame.extend_from_slice(if masking_key.is_some() { &key } else { &[] });
        frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        frame
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame in one of the encodings of its length, the longer ones for shorter payloads too.
    fn frame(opcode: u8, masked: bool, encoding: u8, payload: usize) -> Vec<u8> {
        let mask = if masked { MASKED } else { 0 };
        let mut frame = vec![FINAL | opcode];
        match encoding {
            0 if payload < 126 => frame.push(mask | payload as u8),
            0 | 1 => frame.extend([&[mask | 126][..], &(payload as u16).to_be_bytes()].concat()),
            _ => frame.extend([&[mask | 127][..], &(payload as u64).to_be_bytes()].concat()),
        }
        // Content that looks like headers.
        frame.resize(frame.len() + payload + if masked { 4 } else { 0 }, 0x88);
        frame
    }

    fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let one = (0..3_u8, any::<bool>(), 0..3_u8, prop_oneof![0..10_usize, 120..130_usize, 60_000..66_000_usize])
            .prop_map(|(opcode, masked, encoding, payload)| frame(opcode, masked, encoding, payload.min(65_535)));
        prop::collection::vec(one, 1..6)
    }

    proptest! {
        #[test]
        fn boundaries_are_where_frames_end_however_their_bytes_are_cut(
            frames in frames(),
            cuts in prop::collection::vec(1..5_000_usize, 1..50),
        ) {
            let ends: Vec<usize> = frames.iter().scan(0, |end, frame| { *end += frame.len(); Some(*end) }).collect();
            let bytes = frames.concat();
            let (mut follower, mut position) = (Frames::default(), 0);
            for cut in cuts.iter().cycle() {
                let piece = &bytes[position..bytes.len().min(position + cut)];
                follower.pass(piece);
                position += piece.len();
                prop_assert_eq!(follower.at_boundary(), ends.contains(&position), "at {}", position);
                if position == bytes.len() {
                    break;
                }
            }
            prop_assert!(!follower.is_closed());
        }

        #[test]
        fn one_frame_passes_to_its_end_and_no_further(frames in frames(), cut in 0..70_000_usize) {
            let bytes = frames.concat();
            let cut = cut.min(frames[0].len() - 1);
            let mut follower = Frames::default();
            follower.pass(&bytes[..cut]);
            prop_assert_eq!(follower.pass_frame(&bytes[cut..]), frames[0].len() - cut);
            prop_assert!(follower.at_boundary());
        }

        #[test]
        fn any_bytes_pass(bytes in prop::collection::vec(any::<u8>(), 1..200)) {
            let mut follower = Frames::default();
            let passed = follower.pass_frame(&bytes);
            prop_assert!((1..=bytes.len()).contains(&passed));
            follower.pass(&bytes);
        }
    }

    #[test]
    fn a_close_frame_is_seen_and_the_payload_of_another_is_not_taken_for_one() {
        for (opcode, closed) in [(CLOSE, true), (0x9, false)] {
            let mut follower = Frames::default();
            follower.pass(&frame(opcode, true, 0, 100));
            assert_eq!((follower.is_closed(), follower.at_boundary()), (closed, true));
        }
    }

    #[test]
    fn a_farewell_is_one_whole_frame_of_a_code_and_a_reason() {
        assert_eq!(Farewell::TokenExpired.frame(None), b"\x88\x0f\x03\xf0token expired");
        let masked = Farewell::GoingAway.frame(Some([1, 2, 3, 4]));
        assert_eq!(&masked[..8], [0x88, 0x8c, 1, 2, 3, 4, 0x03 ^ 1, 0xe9 ^ 2]);
        for frame in [Farewell::TokenExpired.frame(None), masked] {
            let mut follower = Frames::default();
            assert_eq!(follower.pass_frame(&frame), frame.len());
            assert!(follower.at_boundary() && follower.is_closed());
        }
    }
}
