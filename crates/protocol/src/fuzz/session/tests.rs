use proptest::prelude::*;

use super::*;

#[test]
fn a_hundred_worlds_keep_every_promise() {
    let mut total = Report::default();
    for seed in 0..100 {
        let report = run(&input(seed));
        assert!(report.is_clean(), "seed {seed}: {report}");
        total.add(report);
    }
    // They would prove nothing if nothing happened in them.
    assert!(total.messages > 5_000 && total.cuts > 500, "{total}");
    assert!(total.crashes > 200 && total.sessions_lost > 20, "{total}");
}

#[test]
fn a_world_is_its_input() {
    assert_eq!(run(&input(7)), run(&input(7)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_input_keeps_every_promise(input in prop::collection::vec(any::<u8>(), 0..800)) {
        let report = run(&input);
        prop_assert!(report.is_clean(), "{}", report);
    }
}
