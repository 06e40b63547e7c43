//! One suite for every transport: what [`slipway_queue::Transport`] promises, shown on each of
//! them with the real broker.
//!
//! A case is a function of [`rig::Kind`] in `cases` (all transports) or `broken` (those that have
//! a broker to lose). What only one broker has is in that broker's own module. A test that stops
//! or empties a broker starts one of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests start brokers and read their rig from the environment"
)]

#[path = "conformance/broken.rs"]
mod broken;
#[path = "conformance/cases.rs"]
mod cases;
#[path = "conformance/rabbitmq.rs"]
mod rabbitmq;
#[path = "conformance/redis.rs"]
mod redis;
#[path = "conformance/rig.rs"]
mod rig;
#[path = "conformance/wire.rs"]
mod wire;

/// A test a case, for one kind of transport.
macro_rules! suite {
    ($name:ident, $kind:expr, $cases:ident, [$($case:ident),+ $(,)?]) => {
        mod $name {
            use crate::{$cases, rig::Kind};

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    $cases::$case($kind).await;
                }
            )+
        }
    };
}

/// What every transport does.
macro_rules! any {
    ($name:ident, $kind:expr) => {
        suite!(
            $name,
            $kind,
            cases,
            [
                a_ring_wakes_exactly_one_of_two_listeners,
                only_the_queue_of_the_bell_is_woken,
                rings_before_anybody_listens_are_not_lost,
                a_dropped_wait_loses_no_bell,
                who_rests_leaves_the_bell_to_another,
                who_rests_gives_back_what_came_too_late,
                signals_reach_every_process_and_the_sender,
                a_closed_transport_takes_nothing_more,
                an_idle_listener_is_woken_fast,
            ]
        );
    };
}

/// What a transport does whose broker is in trouble.
macro_rules! brokered {
    ($name:ident, $kind:expr) => {
        suite!(
            $name,
            $kind,
            broken,
            [
                bells_ring_again_after_a_restart,
                bells_ring_again_after_the_broker_was_emptied,
                a_broker_that_is_down_at_the_start_is_waited_for,
                ringing_never_waits_and_is_refused_when_too_much_waits,
                receivers_learn_that_they_may_have_missed_signals,
                malformed_messages_are_put_aside_and_counted,
                health_tells_the_truth_and_no_password,
                closing_does_not_wait_for_a_broker_that_is_gone,
            ]
        );
    };
}

any!(embedded, Kind::Embedded);
any!(on_redis, Kind::Redis);
brokered!(on_redis_in_trouble, Kind::Redis);
any!(on_rabbitmq, Kind::RabbitMq);
brokered!(on_rabbitmq_in_trouble, Kind::RabbitMq);
