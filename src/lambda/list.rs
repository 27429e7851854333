//! The lists: functions and versions of a region, versions and aliases of a function, and one configuration alone.
//!
//! A listing tells for each function version what its code is (`CodeSha256`, `CodeSize`) without one GetFunction: at
//! most 50 a page, and without state and runtime version (Lambda API reference, ListFunctions).

use std::collections::BTreeMap;

use aws_sdk_lambda::types::FunctionVersion;
use serde_json::Value;

use super::call::Called;
use super::failure::Call;
use super::{Answer, Budget, Lambda};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::function::FunctionRef;

/// Which versions a listing of functions holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// `$LATEST` of each function.
    Latest,
    /// Every version of each, replicas of Lambda@Edge too.
    All,
}

/// The configuration of one function version, as a list or GetFunctionConfiguration gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    answer: Answer,
}

/// A layer version in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedLayer {
    /// The layer version's ARN.
    pub arn: String,
    /// `CodeSize`, in bytes.
    pub code_size: Option<u64>,
}

/// An alias of a function.
#[derive(Debug, Clone, PartialEq)]
pub struct Alias {
    /// Its name.
    pub name: String,
    /// `FunctionVersion`: the version that it points to.
    pub version: String,
    /// `RoutingConfig.AdditionalVersionWeights`: further versions, each with the part of the calls that it gets, from 0 to
    /// 1. The main version gets the rest. The weight is kept as it was written.
    pub weights: BTreeMap<String, serde_json::Number>,
    /// The alias as it came.
    pub answer: Answer,
}

/// The pages of a listing, each asked for when it is wanted.
#[derive(Debug)]
pub struct Pages {
    lambda: Lambda,
    of: Of,
    marker: Option<String>,
    /// How many were brought.
    brought: usize,
    ended: bool,
}

/// What is listed.
#[derive(Debug, Clone)]
enum Of {
    Functions(Scope),
    Versions(String),
    Aliases(String),
    Layers,
    LayerVersions(String),
}

/// A list of more pages than this has no end: a region's, with 50 versions a page, would be half a million.
const MAX_PAGES: usize = 10_000;

impl Lambda {
    /// All functions of the region.
    pub fn functions(&self, scope: Scope) -> Pages {
        self.pages(Of::Functions(scope))
    }

    /// All versions of one function, `$LATEST` among them.
    pub fn versions(&self, function: &str) -> Pages {
        self.pages(Of::Versions(function.to_owned()))
    }

    /// All layers of the account and region.
    pub fn layers(&self) -> Pages {
        self.pages(Of::Layers)
    }

    /// All versions of a layer, by its name or ARN.
    pub fn layer_versions(&self, layer: &str) -> Pages {
        self.pages(Of::LayerVersions(layer.to_owned()))
    }

    fn pages(&self, of: Of) -> Pages {
        Pages {
            lambda: self.clone(),
            of,
            marker: None,
            brought: 0,
            ended: false,
        }
    }

    /// The configuration of one function version, without its code: GetFunctionConfiguration.
    ///
    /// # Errors
    /// The call failed, after its retries, or the answer is about another function.
    pub async fn configuration(&self, function: &FunctionRef) -> Result<Listed> {
        let subject = function.to_string();
        self.reporter.report(&Event::Asking { subject: &subject });
        let call = self.about("GetFunctionConfiguration", &subject);
        let called = self
            .call(call, Budget::Shared, |capture| {
                self.client
                    .get_function_configuration()
                    .function_name(function.unqualified())
                    .set_qualifier(function.qualifier().map(ToOwned::to_owned))
                    .customize()
                    .interceptor(capture)
                    .send()
            })
            .await?;
        let listed = Listed {
            answer: called.answer,
        };
        if listed.name() != function.name() {
            return Err(unusable(
                "GetFunctionConfiguration",
                &subject,
                "it is about another function",
            ));
        }
        Ok(listed)
    }

    /// The aliases of a function, sorted by name.
    ///
    /// # Errors
    /// A call failed, after its retries, or an answer is no list.
    pub async fn aliases(&self, function: &str) -> Result<Vec<Alias>> {
        let mut pages = self.pages(Of::Aliases(function.to_owned()));
        let mut aliases = Vec::new();
        while let Some(items) = pages.items(|_| true).await? {
            aliases.extend(items.into_iter().filter_map(Alias::read));
        }
        aliases.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(aliases)
    }

    /// The ARNs of the versions of a layer, the newest first. They are listed without their code.
    ///
    /// # Errors
    /// A call failed, after its retries, or an answer is no list.
    pub async fn layer_version_arns(&self, layer: &str) -> Result<Vec<String>> {
        let mut pages = self.layer_versions(layer);
        let mut versions = Vec::new();
        while let Some(items) = pages.items(|_| true).await? {
            let arns = items
                .iter()
                .filter_map(|item| item.text("/LayerVersionArn"));
            versions.extend(arns.map(ToOwned::to_owned));
        }
        Ok(versions)
    }

    pub(super) fn about<'a>(&'a self, operation: &'a str, subject: &'a str) -> Call<'a> {
        Call {
            operation,
            subject,
            region: &self.region,
        }
    }
}

impl Pages {
    /// The next page; None after the last. A page may be empty and yet not be the last.
    ///
    /// # Errors
    /// The call failed, after its retries, or the answer is no page. Asking again asks for the same page.
    pub async fn next(&mut self) -> Result<Option<Vec<Listed>>> {
        let items = self.items(Listed::is_one).await?;
        Ok(items.map(|items| items.into_iter().map(|answer| Listed { answer }).collect()))
    }

    /// Of a listing of layers the next page's ARNs, without a version.
    ///
    /// # Errors
    /// As for [`Pages::next`].
    pub async fn next_layers(&mut self) -> Result<Option<Vec<String>>> {
        self.texts("/LayerArn").await
    }

    /// Of a listing of layer versions the next page's ARNs, with the version.
    ///
    /// # Errors
    /// As for [`Pages::next`].
    pub async fn next_layer_versions(&mut self) -> Result<Option<Vec<String>>> {
        self.texts("/LayerVersionArn").await
    }

    async fn texts(&mut self, pointer: &str) -> Result<Option<Vec<String>>> {
        let Some(items) = self.items(|_| true).await? else {
            return Ok(None);
        };
        let texts: Option<Vec<String>> = items
            .iter()
            .map(|item| item.text(pointer).map(ToOwned::to_owned))
            .collect();
        let (operation, _, subject) = self.names();
        texts
            .map(Some)
            .ok_or_else(|| unusable(operation, subject, "a layer in it has no ARN"))
    }

    /// The objects of the next page, each of which must be what `sound` says.
    async fn items(&mut self, sound: fn(&Answer) -> bool) -> Result<Option<Vec<Answer>>> {
        if self.ended {
            return Ok(None);
        }
        let (operation, field, subject) = self.names();
        if self.brought == MAX_PAGES {
            return Err(endless(operation, subject));
        }
        let called = self.ask(operation, subject).await?;
        let Page { items, next } =
            Page::read(called, field).map_err(|why| unusable(operation, subject, why))?;
        if next.is_some() && next == self.marker {
            return Err(endless(operation, subject));
        }
        if !items.iter().all(sound) {
            return Err(unusable(
                operation,
                subject,
                "a function in it has no name or ARN",
            ));
        }
        self.brought += 1;
        self.ended = next.is_none();
        self.marker = next;
        Ok(Some(items))
    }

    /// The operation, the field that holds the list, and what it is about.
    fn names(&self) -> (&'static str, &'static str, &str) {
        match &self.of {
            Of::Functions(_) => ("ListFunctions", "Functions", &self.lambda.region),
            Of::Versions(function) => ("ListVersionsByFunction", "Versions", function),
            Of::Aliases(function) => ("ListAliases", "Aliases", function),
            Of::Layers => ("ListLayers", "Layers", &self.lambda.region),
            Of::LayerVersions(layer) => ("ListLayerVersions", "LayerVersions", layer),
        }
    }

    /// All that are left. For lists that are known to be small: a function's versions, a region of a few pages.
    ///
    /// # Errors
    /// As for [`Pages::next`].
    pub async fn all(mut self) -> Result<Vec<Listed>> {
        let mut all = Vec::new();
        while let Some(page) = self.next().await? {
            all.extend(page);
        }
        Ok(all)
    }

    async fn ask(&self, operation: &str, subject: &str) -> Result<Called> {
        let lambda = &self.lambda;
        let call = lambda.about(operation, subject);
        let marker = &self.marker;
        match &self.of {
            Of::Functions(scope) => {
                let all = *scope == Scope::All;
                lambda
                    .call(call, Budget::Shared, |capture| {
                        lambda
                            .client
                            .list_functions()
                            .set_function_version(all.then_some(FunctionVersion::All))
                            // Without it replicas of Lambda@Edge are left out.
                            .set_master_region(all.then(|| "ALL".to_owned()))
                            .set_marker(marker.clone())
                            .customize()
                            .interceptor(capture)
                            .send()
                    })
                    .await
            }
            Of::Versions(function) => {
                lambda
                    .call(call, Budget::Shared, |capture| {
                        lambda
                            .client
                            .list_versions_by_function()
                            .function_name(function)
                            .set_marker(marker.clone())
                            .customize()
                            .interceptor(capture)
                            .send()
                    })
                    .await
            }
            Of::Aliases(function) => {
                lambda
                    .call(call, Budget::Shared, |capture| {
                        lambda
                            .client
                            .list_aliases()
                            .function_name(function)
                            .set_marker(marker.clone())
                            .customize()
                            .interceptor(capture)
                            .send()
                    })
                    .await
            }
            Of::Layers => {
                lambda
                    .call(call, Budget::Shared, |capture| {
                        lambda
                            .client
                            .list_layers()
                            .set_marker(marker.clone())
                            .customize()
                            .interceptor(capture)
                            .send()
                    })
                    .await
            }
            Of::LayerVersions(layer) => {
                lambda
                    .call(call, Budget::Shared, |capture| {
                        lambda
                            .client
                            .list_layer_versions()
                            .layer_name(layer)
                            .set_marker(marker.clone())
                            .customize()
                            .interceptor(capture)
                            .send()
                    })
                    .await
            }
        }
    }
}

/// One page of a list.
pub(super) struct Page {
    pub(super) items: Vec<Answer>,
    pub(super) next: Option<String>,
}

impl Page {
    /// The items in `field`, each an object, and the marker of the next page.
    pub(super) fn read(called: Called, field: &str) -> Result<Self, &'static str> {
        let next = called.answer.text("/NextMarker");
        let next = next
            .filter(|marker| !marker.is_empty())
            .map(ToOwned::to_owned);
        let Some(Value::Array(items)) = called.answer.into_field(field) else {
            return Err("it has no list");
        };
        let items: Option<Vec<Answer>> = items.into_iter().map(Answer::of_value).collect();
        Ok(Self {
            items: items.ok_or("what it lists are no objects")?,
            next,
        })
    }
}

pub(super) fn unusable(operation: &str, subject: &str, why: &str) -> Error {
    Error::new(
        ErrorKind::Service,
        format!("{operation} brought no usable answer"),
    )
    .about(subject)
    .because(why.to_owned())
    .hint("is the endpoint Lambda's?")
}

pub(super) fn endless(operation: &str, subject: &str) -> Error {
    unusable(operation, subject, "its pages have no end")
}

impl Listed {
    /// Whether it says which function it is about.
    fn is_one(answer: &Answer) -> bool {
        let has = |pointer| answer.text(pointer).is_some_and(|text| !text.is_empty());
        has("/FunctionArn") && has("/FunctionName")
    }

    /// A configuration that was kept, as in GetFunction's `Configuration`; None of what names no function.
    pub fn of_configuration(configuration: serde_json::Value) -> Option<Self> {
        let answer = Answer::of_value(configuration)?;
        Self::is_one(&answer).then_some(Self { answer })
    }

    /// The configuration as it came.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    fn text(&self, pointer: &str) -> &str {
        self.answer.text(pointer).unwrap_or_default()
    }

    /// `FunctionArn`, which ends with the version where a version was asked for, and in lists of all versions.
    pub fn arn(&self) -> &str {
        self.text("/FunctionArn")
    }

    /// The ARN without a version at its end: the function's own.
    pub fn function_arn(&self) -> &str {
        let arn = self.arn();
        match arn.match_indices(':').nth(6) {
            Some((end, _)) => &arn[..end],
            None => arn,
        }
    }

    /// The ARN with its version at the end, `$LATEST` too.
    pub fn version_arn(&self) -> String {
        format!("{}:{}", self.function_arn(), self.version())
    }

    /// `FunctionName`.
    pub fn name(&self) -> &str {
        self.text("/FunctionName")
    }

    /// `Version`: `$LATEST` or a number.
    pub fn version(&self) -> &str {
        self.answer.text("/Version").unwrap_or("$LATEST")
    }

    /// The region in the ARN.
    pub fn region(&self) -> &str {
        self.arn().split(':').nth(3).unwrap_or_default()
    }

    /// The account in the ARN.
    pub fn account(&self) -> &str {
        self.arn().split(':').nth(4).unwrap_or_default()
    }

    /// `Zip` or `Image`; old answers have none, and are zips.
    pub fn package_type(&self) -> &str {
        self.answer.text("/PackageType").unwrap_or("Zip")
    }

    /// `CodeSha256` as Lambda states it.
    pub fn code_sha256_text(&self) -> Option<&str> {
        self.answer.text("/CodeSha256")
    }

    /// `CodeSize`, in bytes; 0 for an image.
    pub fn code_size(&self) -> Option<u64> {
        self.answer.size("/CodeSize")
    }

    /// `Runtime`, which an image has none of.
    pub fn runtime(&self) -> Option<&str> {
        self.answer.text("/Runtime")
    }

    /// `LastModified`, as Lambda writes it.
    pub fn last_modified(&self) -> Option<&str> {
        self.answer.text("/LastModified")
    }

    /// `RevisionId`, which changes with each change.
    pub fn revision_id(&self) -> Option<&str> {
        self.answer.text("/RevisionId")
    }

    /// `MasterArn`: the function in us-east-1 of which this one is Lambda@Edge's replica.
    pub fn master_arn(&self) -> Option<&str> {
        self.answer.text("/MasterArn")
    }

    /// The SHA-256 of the configuration in one certain form, to tell whether it changed. What only GetFunctionConfiguration
    /// and not ListFunctions has (state, last update, runtime version) does not count, so that both tell the same.
    pub fn fingerprint(&self, redact_env: bool) -> crate::digest::Sha256Digest {
        self.answer.fingerprint_without(redact_env, |key| {
            key.starts_with("State")
                || key.starts_with("LastUpdateStatus")
                || key == "RuntimeVersionConfig"
        })
    }

    /// The layer versions, in the order in which Lambda applies them.
    pub fn layers(&self) -> Vec<ListedLayer> {
        let layers = self.answer.get("/Layers").and_then(Value::as_array);
        let layers = layers.into_iter().flatten();
        layers
            .filter_map(|layer| {
                Some(ListedLayer {
                    arn: layer.get("Arn")?.as_str()?.to_owned(),
                    code_size: layer.get("CodeSize").and_then(Value::as_u64),
                })
            })
            .collect()
    }

    /// The names of the environment variables, sorted.
    pub fn environment_names(&self) -> Vec<&str> {
        let variables = self.answer.get("/Environment/Variables");
        let variables = variables.and_then(Value::as_object);
        let mut names: Vec<&str> = variables
            .into_iter()
            .flat_map(|map| map.keys().map(String::as_str))
            .collect();
        names.sort_unstable();
        names
    }
}

impl Alias {
    fn read(answer: Answer) -> Option<Self> {
        let weights = answer.get("/RoutingConfig/AdditionalVersionWeights");
        let weights = weights.and_then(Value::as_object);
        Some(Self {
            name: answer.text("/Name")?.to_owned(),
            version: answer.text("/FunctionVersion")?.to_owned(),
            weights: weights
                .into_iter()
                .flatten()
                .filter_map(|(version, weight)| {
                    Some((version.clone(), weight.as_number()?.clone()))
                })
                .collect(),
            answer,
        })
    }

    /// Every version that it routes calls to, the main one first.
    pub fn versions(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.version.as_str()).chain(self.weights.keys().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::super::call::CallMeta;
    use super::*;

    fn listed(json: &Value) -> Listed {
        Listed {
            answer: Answer::parse(json.to_string().as_bytes()).unwrap(),
        }
    }

    fn page(body: &str) -> Result<Page, &'static str> {
        let called = Called {
            answer: Answer::parse(body.as_bytes()).unwrap(),
            meta: CallMeta::default(),
        };
        Page::read(called, "Aliases")
    }

    #[test]
    fn a_configuration_names_its_function_and_version() {
        let arn = "arn:aws:lambda:eu-west-1:123456789012:function:f";
        for (stated, version) in [
            (arn.to_owned(), "$LATEST"),
            (format!("{arn}:$LATEST"), "$LATEST"),
            (format!("{arn}:7"), "7"),
        ] {
            let one = listed(&serde_json::json!({
                "FunctionArn": stated, "FunctionName": "f", "Version": version,
                "Environment": {"Variables": {"B": "s3cret", "A": ""}},
            }));
            assert_eq!(one.function_arn(), arn);
            assert_eq!(one.version_arn(), format!("{arn}:{version}"));
            assert_eq!((one.region(), one.account()), ("eu-west-1", "123456789012"));
            assert_eq!(one.environment_names(), ["A", "B"]);
            assert_eq!(one.package_type(), "Zip");
            assert!(!format!("{one:?}").contains("s3cret"));
        }
    }

    #[test]
    fn an_alias_routes_to_one_version_and_more() {
        let page = page(
            r#"{"Aliases": [{"Name": "live", "FunctionVersion": "2", "RoutingConfig":
            {"AdditionalVersionWeights": {"3": 0.10}}}], "NextMarker": null}"#,
        )
        .unwrap();
        assert_eq!(page.next, None);
        let alias = Alias::read(page.items.into_iter().next().unwrap()).unwrap();
        assert_eq!(alias.versions().collect::<Vec<_>>(), ["2", "3"]);
        assert_eq!(alias.weights["3"].to_string(), "0.10");
    }

    #[test]
    fn what_is_no_page_is_none() {
        for body in [
            "{}",
            r#"{"Aliases": {}}"#,
            r#"{"Aliases": [1]}"#,
            r#"{"Aliases": null}"#,
        ] {
            assert!(page(body).is_err(), "{body}");
        }
        assert_eq!(
            page(r#"{"Aliases": [], "NextMarker": "m"}"#).unwrap().next,
            Some("m".to_owned())
        );
    }
}
