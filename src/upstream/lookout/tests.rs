//! That names are resolved again while the process runs, and what is said of it.

use std::cell::{Cell, RefCell};

use super::*;

fn at(ip: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, ip], 80))
}

#[tokio::test(start_paused = true)]
async fn name_is_resolved_again_and_the_last_answer_survives_failures() {
    let addresses = Addresses::new("orders.test", 80);
    let asked = Cell::new(0);
    let said = RefCell::new(Vec::new());
    let look_up = async || {
        asked.set(asked.get() + 1);
        match asked.get() {
            1 | 2 => Ok(vec![at(1)]),
            3 | 4 => Err(io::Error::other("no answer")),
            5 => Ok(vec![at(1)]),
            _ => Ok(vec![at(2)]),
        }
    };
    let say = |turn: Turn<'_>| {
        let what = match turn {
            Turn::Failed(cause) => cause.to_string(),
            Turn::Found => addresses.in_words(),
        };
        said.borrow_mut().push((asked.get(), what));
    };
    let interval = Duration::from_secs(30);
    let following = follow(&addresses, interval, look_up, say);
    let time = Duration::from_secs(30 * 8);
    assert!(tokio::time::timeout(time, following).await.is_err());
    assert!((7..=9).contains(&asked.get()), "{}", asked.get());
    let expected = [(3, "no answer"), (5, "127.0.0.1:80"), (6, "127.0.0.2:80")];
    let expected = expected.map(|(turn, what)| (turn, what.to_owned()));
    assert_eq!(said.into_inner(), expected);
}
