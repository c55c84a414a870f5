//! Line ends of a request's head. The parser takes LF alone for one, as RFC 9112 §2.2 allows; whoever stands in front
//! may have taken it for part of a value, and then the two have read different requests. So it is refused.
//!
//! Looked at are heads that come while one is awaited, which is how proxies in front send theirs. One that a client
//! sends in one piece with what stands before it is read as the RFC allows.

const CR: u8 = b'\r';
const LF: u8 = b'\n';
const END: &[u8] = b"\r\n\r\n";

/// The lines of one head as they come.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The last bytes before the next ones.
    tail: [u8; END.len() - 1],
}

impl Lines {
    /// A head is about to come. Of what stands before it, nothing is a part of its lines but a CR, whose LF is still to
    /// come: it may have begun in one piece with the request before.
    pub(super) fn begin(&mut self) {
        let [.., last] = self.tail;
        self.tail = if last == CR { [0, 0, CR] } else { Default::default() };
    }

    /// These bytes come before the next head.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        self.tail = tail(self.tail, bytes);
        self.begin();
    }

    /// Whether a line among these bytes ends with LF alone, before the head does. Costs less than a tenth of a
    /// nanosecond a byte where there is no such line.
    pub(super) fn are_bare(&mut self, bytes: &[u8]) -> bool {
        let before = self.tail;
        self.tail = tail(before, bytes);
        let begins_bare = bytes.first() == Some(&LF) && !before.ends_with(&[CR]);
        if !begins_bare && !has_bare(bytes) {
            return false;
        }
        // Here or behind the head: what is behind it may be a body.
        let all = [&before, bytes].concat();
        let end = all.windows(END.len()).position(|bytes| bytes == END).unwrap_or(all.len());
        all.get(..end).is_some_and(has_bare)
    }
}

fn tail<const N: usize>(before: [u8; N], bytes: &[u8]) -> [u8; N] {
    if let Some(tail) = bytes.last_chunk() {
        return *tail;
    }
    let mut tail = before;
    tail.rotate_left(bytes.len());
    tail[N - bytes.len()..].copy_from_slice(bytes);
    tail
}

/// Without a branch for each byte, so that many are looked at together.
fn has_bare(bytes: &[u8]) -> bool {
    let Some(after) = bytes.get(1..) else { return false };
    let bare = |before: &u8, byte: &u8| u8::from(*byte == LF) & u8::from(*before != CR);
    bytes.iter().zip(after).fold(0, |found, (before, byte)| found | bare(before, byte)) != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// In pieces of these sizes.
    fn are_bare(text: &str, sizes: &[usize]) -> bool {
        let (mut lines, mut rest, mut sizes) = (Lines::default(), text.as_bytes(), sizes.iter().cycle());
        let mut bare = false;
        while !rest.is_empty() && !bare {
            let (piece, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            bare = lines.are_bare(piece);
            rest = behind;
        }
        bare
    }

    proptest! {
        #[test]
        fn a_bare_line_end_is_found_however_the_head_is_cut(sizes in prop::collection::vec(1..30_usize, 1..20)) {
            for bare in [
                "GET / HTTP/1.1\nHost: a\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\n\n",
                "GET / HTTP/1.1\r\nX: y\nHost: a\r\n\r\n",
                "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
                "\n\n",
            ] {
                prop_assert!(are_bare(bare, &sizes), "{:?}", bare);
            }
            let clean = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
            prop_assert!(!are_bare(clean, &sizes));
        }
    }

    #[test]
    fn a_body_may_hold_what_it_likes() {
        let whole = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n{\n\n\n}\n";
        assert!(!are_bare(whole, &[whole.len()]));
        let head = whole.find('{').unwrap();
        for cut in 1..5 {
            assert!(!are_bare(whole, &[head - cut, whole.len()]), "{cut} bytes of the head come with the body");
        }
    }

    #[test]
    fn a_line_may_have_begun_in_one_piece_with_what_stands_before_it() {
        for before in
            ["GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r", "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r"]
        {
            let mut lines = Lines::default();
            assert!(!lines.are_bare(before.as_bytes()));
            lines.begin();
            assert!(!lines.are_bare(b"\nHost: a\r\n\r\n"));
            lines.pass(b"a body, and then GET / HTTP/1.1\r");
            lines.begin();
            assert!(!lines.are_bare(b"\nHost: a\r\n\r\n"));
        }
        let mut lines = Lines::default();
        lines.pass(b"a body\r\n");
        lines.begin();
        assert!(lines.are_bare(b"\r\nGET / HTTP/1.1\nHost: a\r\n\r\n"), "what ends a body is no part of a head's end");
    }

    #[test]
    fn a_head_begins_anew() {
        let mut lines = Lines::default();
        assert!(!lines.are_bare(b"GET / HTTP/1.1\r\n\r\n"));
        lines.begin();
        assert!(lines.are_bare(b"\n"));
    }
}
