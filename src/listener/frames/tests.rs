use super::*;

const PREFACE_BYTES: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PING: u8 = 0x6;
const BASE: u32 = 20;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags, 0, 0, 0, 1]);
    bytes.extend(payload);
    bytes
}

fn ping() -> Vec<u8> {
    frame(PING, 0, &[0; 8])
}

/// Frames behind the preface.
fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = PREFACE_BYTES.to_vec();
    bytes.extend(frames.concat());
    bytes
}

/// Where it is ended that nobody asked anything of, read in pieces of this size.
fn end(bytes: &[u8], piece: usize) -> Option<usize> {
    let mut frames = Frames::new(BASE);
    let mut read = 0;
    for piece in bytes.chunks(piece) {
        if let Some(at) = frames.read(piece, || 0) {
            return Some(read + at);
        }
        read += piece.len();
    }
    None
}

#[tokio::test(start_paused = true)]
async fn the_frame_that_is_one_too_many_is_not_read_and_the_one_before_is() {
    let allowed = connection(&vec![ping(); 20]);
    assert_eq!(end(&allowed, usize::MAX), None);
    let flood = connection(&vec![ping(); 40]);
    assert_eq!(end(&flood, usize::MAX), Some(allowed.len()));
}

#[tokio::test(start_paused = true)]
async fn how_the_bytes_come_in_pieces_does_not_matter() {
    let one = ping().len();
    let flood = connection(&vec![ping(); 40]);
    let whole = end(&flood, usize::MAX).unwrap();
    for piece in 1..=flood.len() {
        let end = end(&flood, piece).unwrap();
        // A frame whose head was handed on before it was known passes as a whole.
        assert!(end == whole || end == whole + one, "{end} in {piece}s");
    }
}

#[tokio::test(start_paused = true)]
async fn content_costs_nothing_and_what_only_looks_like_it_does() {
    let content = connection(&vec![frame(DATA, 0, b"x"); 1000]);
    let empty = connection(&vec![frame(DATA, 0, b""); 1000]);
    let padded = connection(&vec![frame(DATA, PADDED, &[1, 0]); 1000]);
    assert_eq!(end(&content, 7), None);
    assert!(end(&empty, 7).is_some());
    assert!(end(&padded, 7).is_some());
}

#[tokio::test(start_paused = true)]
async fn payload_that_looks_like_frames_is_none() {
    let disguised = vec![ping(); 1000].concat();
    let content = frame(DATA, 0, &disguised);
    for piece in [1, 8, 9, 10, usize::MAX] {
        assert_eq!(
            end(&connection(std::slice::from_ref(&content)), piece),
            None
        );
    }
}

/// How many of these it takes in one period, of `served` requests in a hundred.
fn taken(frames: &[Vec<u8>], served: u32, most: u32) -> u32 {
    let mut watch = Frames::new(BASE);
    let bytes = frames.concat();
    assert_eq!(watch.read(PREFACE_BYTES, || 0), None);
    for round in 0..most {
        if watch.read(&bytes, || round * served / 100).is_some() {
            return round;
        }
    }
    most
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_served_pay_for_their_frames_and_for_half_of_them_being_reset() {
    let head = || frame(HEADERS, END_HEADERS, &[0x82]);
    let reset = || frame(RST_STREAM, 0, &[0, 0, 0, 8]);
    let update = || frame(0x8, 0, &[0, 0, 1, 0]);
    // One of two is reset.
    assert_eq!(taken(&[head(), head(), reset()], 200, 10_000), 10_000);
    assert_eq!(taken(&[head(), update(), update()], 100, 10_000), 10_000);
    // Every one is reset, or none is served.
    assert!(taken(&[head(), reset()], 100, 10_000) < 10);
    assert!(taken(&[head(), update()], 0, 10_000) < 20);
}

#[tokio::test(start_paused = true)]
async fn what_goes_down_pays_for_being_acknowledged() {
    let mut frames = Frames::new(BASE);
    assert_eq!(frames.read(PREFACE_BYTES, || 0), None);
    let update = frame(0x8, 0, &[0, 0, 1, 0]);
    for _ in 0..10_000 {
        frames.wrote(100);
        assert_eq!(frames.read(&update, || 0), None);
        assert_eq!(frames.read(&update, || 0), None);
    }
}

#[tokio::test(start_paused = true)]
async fn each_period_has_a_budget_and_what_is_left_of_one_is_lost() {
    let mut frames = Frames::new(BASE);
    assert_eq!(frames.read(PREFACE_BYTES, || 0), None);
    for _ in 0..10 {
        for _ in 0..BASE {
            assert_eq!(frames.read(&ping(), || 0), None);
        }
        tokio::time::advance(PERIOD).await;
    }
    // What was left, and one budget more: a period begins when it is needed.
    let more = (0..100).find(|_| frames.read(&ping(), || 0).is_some());
    assert!(more.is_some_and(|more| more <= 2 * BASE), "{more:?}");
}

#[tokio::test(start_paused = true)]
async fn farewell_continues_the_block_that_is_under_way_and_begins_one_where_there_is_none() {
    let mut frames = Frames::new(BASE);
    assert_eq!(frames.read(PREFACE_BYTES, || 0), None);
    assert_eq!(frames.farewell(0)[3], HEADERS);
    assert_eq!(frames.read(&frame(HEADERS, 0, &[]), || 0), None);
    let farewell = frames.farewell(0);
    assert_eq!((farewell[3], farewell[8]), (CONTINUATION, 1));
    assert_eq!(
        frames.read(&frame(CONTINUATION, END_HEADERS, &[]), || 0),
        None
    );
    assert_eq!(frames.farewell(0)[3], HEADERS);
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let mut frames = Frames::new(1);
        for piece in bytes.chunks(3) {
            frames.read(piece, || 0);
        }
    }
}
