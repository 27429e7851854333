//! A function that exists: what a test compares with, and changes under a client.

use super::fault::JsonPatch;
use super::world::{Alias, FunctionKey, FunctionState, SharedRef, Swap, Trigger};
use bytes::Bytes;
use serde_json::Value;
use std::collections::BTreeMap;

/// A function that the server has: ask it for what a test compares with, or change it.
#[derive(Clone)]
pub struct Function {
    pub(super) shared: SharedRef,
    pub(super) key: FunctionKey,
    pub(super) arn: String,
}

impl Function {
    /// The unqualified ARN.
    #[must_use]
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// The name alone.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.key.2
    }

    /// `CodeSha256` that is stated for `$LATEST` now; empty when the function is gone.
    #[must_use]
    pub fn code_sha256(&self) -> String {
        self.read(|function| {
            function.latest.configuration["CodeSha256"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
    }

    /// Gives `$LATEST` new code, now.
    pub fn update_code(&self, zip: impl Into<Bytes>) {
        let now = self.shared.clock.now();
        self.shared.world().update_code(&self.key, zip.into(), now);
    }

    /// Gives `$LATEST` new code when something happens. Several swaps may wait at once.
    pub fn update_code_on(&self, trigger: Trigger, zip: impl Into<Bytes>) {
        let zip = zip.into();
        self.change(|function| function.swaps.push(Swap { trigger, zip }));
    }

    /// Publishes `$LATEST` and answers the version number; empty when the function is gone.
    #[expect(clippy::must_use_candidate, reason = "the number matters to few")]
    pub fn publish(&self) -> String {
        let mut number = String::new();
        self.change(|function| {
            let next = function
                .published
                .last_key_value()
                .map_or(1, |(last, _)| last + 1);
            function.published.insert(next, function.latest.clone());
            number = next.to_string();
        });
        number
    }

    /// Sets or moves an alias.
    pub fn alias(&self, name: &str, version: &str) {
        let alias = Alias {
            version: version.to_owned(),
            weights: BTreeMap::new(),
            description: String::new(),
            revision: super::answer::request_uuid(),
        };
        self.change(|function| {
            function.aliases.insert(name.to_owned(), alias);
        });
    }

    /// Sets a field of `$LATEST`'s configuration.
    pub fn set(&self, field: &str, value: Value) {
        self.change(|function| {
            function
                .latest
                .configuration
                .insert(field.to_owned(), value);
        });
    }

    /// Changes every `GetFunction` answer of this function from now on.
    pub fn patch(&self, change: impl Fn(&mut Value) + Send + Sync + 'static) {
        self.change(|function| function.departures.patch = Some(JsonPatch::new(change)));
    }

    /// Answers `GetFunction` with these bytes and status 200 from now on, JSON or not.
    pub fn raw(&self, body: impl Into<Bytes>) {
        let body = body.into();
        self.change(|function| function.departures.raw = Some(body));
    }

    /// Sets the answer of a side read, for example `GetPolicy`; `qualifier` is empty for none.
    pub fn side(&self, operation: &str, qualifier: &str, answer: Value) {
        self.shared.world().sides.insert(
            (operation.to_owned(), self.arn.clone(), qualifier.to_owned()),
            answer,
        );
    }

    /// `$LATEST`'s configuration, or a version's, as GetFunctionConfiguration gives it.
    #[must_use]
    pub fn configuration(&self, version: &str) -> Value {
        self.shared.world().settle();
        self.read(|function| {
            let configuration = function.configuration(version, None);
            configuration.map_or(Value::Null, Value::Object)
        })
    }

    /// The numbers of the published versions.
    #[must_use]
    pub fn versions(&self) -> Vec<u64> {
        self.read(|function| function.published.keys().copied().collect())
    }

    /// The aliases: name to version and weights.
    #[must_use]
    pub fn aliases(&self) -> BTreeMap<String, (String, BTreeMap<String, f64>)> {
        self.read(|function| {
            let each = function.aliases.iter();
            let each = each.map(|(name, alias)| {
                (name.clone(), (alias.version.clone(), alias.weights.clone()))
            });
            each.collect()
        })
    }

    /// The tags.
    #[must_use]
    pub fn tags(&self) -> BTreeMap<String, String> {
        self.read(|function| function.tags.clone())
    }

    /// Removes a tag.
    pub fn untag(&self, key: &str) {
        self.change(|function| {
            function.tags.remove(key);
        });
    }

    /// The reserved concurrency.
    #[must_use]
    pub fn concurrency(&self) -> Option<u64> {
        self.read(|function| function.concurrency)
    }

    /// The next update fails after it was taken, for this reason.
    pub fn fail_next_update(&self, reason: &str) {
        self.change(|function| function.fail_next = Some(reason.to_owned()));
    }

    /// Removes the function; its packages stay where presigned URLs reach them.
    pub fn delete(&self) {
        self.shared.world().functions.remove(&self.key);
    }

    fn read<T: Default>(&self, read: impl FnOnce(&FunctionState) -> T) -> T {
        self.shared
            .world()
            .functions
            .get(&self.key)
            .map(read)
            .unwrap_or_default()
    }

    fn change(&self, change: impl FnOnce(&mut FunctionState)) {
        if let Some(function) = self.shared.world().functions.get_mut(&self.key) {
            change(function);
        }
    }
}
