//! From tracing events to ring entries.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use sluice_api::report::LogLevel;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::LogRing;

/// Copies every event into a ring: the message first, then its fields as `name=value`.
#[derive(Debug)]
pub struct RingLayer {
    ring: Arc<LogRing>,
}

impl RingLayer {
    /// A layer that fills `ring`.
    pub fn new(ring: Arc<LogRing>) -> Self {
        Self { ring }
    }
}

impl<S: Subscriber> Layer<S> for RingLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        self.ring.push(level(*metadata.level()), metadata.target(), &text.joined());
    }
}

fn level(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        _ => LogLevel::Debug,
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn joined(mut self) -> String {
        self.message.push_str(&self.fields);
        self.message
    }

    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // writing to a String cannot fail
        let _ = if field.name() == "message" {
            self.message.write_fmt(value)
        } else {
            write!(self.fields, " {}={value}", field.name())
        };
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn events_arrive_with_level_message_and_fields() {
        let ring = Arc::new(LogRing::default());
        let subscriber = tracing_subscriber::registry().with(RingLayer::new(Arc::clone(&ring)));
        let secret = sluice_api::types::Secret::new("hunter2");
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(link = %"pub0", steps = 2, ?secret, "drift repaired");
        });
        let page = ring.page(0, 10);
        let entry = page.entries.first().expect("one entry");
        assert_eq!(entry.level, LogLevel::Warn);
        assert_eq!(entry.message, "drift repaired link=pub0 steps=2 secret=(hidden)");
    }
}
