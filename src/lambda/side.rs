//! What a function is beside its code: policy, URLs, event sources, concurrency. Each is a read call of its own.
//!
//! Nothing set, nothing applicable, denied and unknown to the server are answers of their own, and no failures.

use serde_json::Value;

use super::call::CallMeta;
use super::failure::CallFailure;
use super::list::{Page, endless, unusable};
use super::{Answer, Budget, Lambda};
use crate::error::{ErrorKind, Result};

/// A read call about a function, a version or alias of it, or the region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SideRead {
    /// GetPolicy: the resource-based policy of a function, version or alias; each has its own.
    Policy,
    /// ListFunctionUrlConfigs: of all qualifiers.
    UrlConfigs,
    /// ListFunctionEventInvokeConfigs: of all qualifiers.
    EventInvokeConfigs,
    /// GetFunctionCodeSigningConfig: for zip functions.
    CodeSigningConfig,
    /// GetRuntimeManagementConfig, of a qualifier.
    RuntimeManagementConfig,
    /// GetFunctionScalingConfig, of a qualifier; only where `CapacityProviderConfig` is set.
    ScalingConfig,
    /// ListProvisionedConcurrencyConfigs: of all qualifiers.
    ProvisionedConcurrencyConfigs,
    /// GetFunctionRecursionConfig.
    RecursionConfig,
    /// ListEventSourceMappings of the whole region: the function is left out.
    EventSourceMappings,
}

/// What a side read brought.
#[derive(Debug, Clone, PartialEq)]
pub enum SideAnswer {
    /// The answer; of a list, all its pages in one.
    Found(Answer),
    /// There is none: a 404, an empty list, or an answer without the field.
    NotSet,
    /// This kind of function has no such thing: a 400, with AWS's code.
    NotApplicable {
        /// AWS's error code.
        code: String,
    },
    /// The caller may not look.
    Denied {
        /// AWS's error code, if it gave one.
        code: Option<String>,
        /// The IAM action that would allow it.
        action: &'static str,
    },
    /// The server does not know the operation, as emulators and some partitions do not.
    Unknown {
        /// The HTTP status.
        status: u16,
    },
}

/// The longest list that is read, in pages.
const MAX_PAGES: usize = 1000;

impl SideRead {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Policy,
        Self::UrlConfigs,
        Self::EventInvokeConfigs,
        Self::CodeSigningConfig,
        Self::RuntimeManagementConfig,
        Self::ScalingConfig,
        Self::ProvisionedConcurrencyConfigs,
        Self::RecursionConfig,
        Self::EventSourceMappings,
    ];

    /// The API operation.
    pub fn operation(self) -> &'static str {
        match self {
            Self::Policy => "GetPolicy",
            Self::UrlConfigs => "ListFunctionUrlConfigs",
            Self::EventInvokeConfigs => "ListFunctionEventInvokeConfigs",
            Self::CodeSigningConfig => "GetFunctionCodeSigningConfig",
            Self::RuntimeManagementConfig => "GetRuntimeManagementConfig",
            Self::ScalingConfig => "GetFunctionScalingConfig",
            Self::ProvisionedConcurrencyConfigs => "ListProvisionedConcurrencyConfigs",
            Self::RecursionConfig => "GetFunctionRecursionConfig",
            Self::EventSourceMappings => "ListEventSourceMappings",
        }
    }

    /// The IAM action; the same word as the operation for each of these (Service Authorization Reference).
    pub fn action(self) -> &'static str {
        match self {
            Self::Policy => "lambda:GetPolicy",
            Self::UrlConfigs => "lambda:ListFunctionUrlConfigs",
            Self::EventInvokeConfigs => "lambda:ListFunctionEventInvokeConfigs",
            Self::CodeSigningConfig => "lambda:GetFunctionCodeSigningConfig",
            Self::RuntimeManagementConfig => "lambda:GetRuntimeManagementConfig",
            Self::ScalingConfig => "lambda:GetFunctionScalingConfig",
            Self::ProvisionedConcurrencyConfigs => "lambda:ListProvisionedConcurrencyConfigs",
            Self::RecursionConfig => "lambda:GetFunctionRecursionConfig",
            Self::EventSourceMappings => "lambda:ListEventSourceMappings",
        }
    }

    /// Whether it is asked for each alias and version, and not once a function.
    pub fn is_qualified(self) -> bool {
        matches!(
            self,
            Self::Policy | Self::RuntimeManagementConfig | Self::ScalingConfig
        )
    }

    /// The field that holds the list; None where the answer is one object.
    fn list(self) -> Option<&'static str> {
        match self {
            Self::UrlConfigs => Some("FunctionUrlConfigs"),
            Self::EventInvokeConfigs => Some("FunctionEventInvokeConfigs"),
            Self::ProvisionedConcurrencyConfigs => Some("ProvisionedConcurrencyConfigs"),
            Self::EventSourceMappings => Some("EventSourceMappings"),
            _ => None,
        }
    }

    /// The field without which an object says nothing.
    fn field(self) -> &'static str {
        match self {
            Self::Policy => "Policy",
            Self::CodeSigningConfig => "CodeSigningConfigArn",
            Self::RuntimeManagementConfig => "UpdateRuntimeOn",
            Self::RecursionConfig => "RecursiveLoop",
            // Either of two fields may be there: any answer counts.
            Self::ScalingConfig => "",
            _ => self.list().unwrap_or_default(),
        }
    }

    fn budget(self) -> Budget {
        match self {
            Self::Policy => Budget::GetPolicy,
            _ => Budget::Shared,
        }
    }
}

impl Lambda {
    /// Makes a side read about `function`, a name or ARN without qualifier, and of `qualifier` where the read takes one.
    ///
    /// # Errors
    /// The call failed, after its retries, in a way that says nothing about the function: throttled, no network,
    /// credentials refused, an answer that is none.
    pub async fn side_read(
        &self,
        read: SideRead,
        function: &str,
        qualifier: Option<&str>,
    ) -> Result<(SideAnswer, CallMeta)> {
        let subject = match qualifier {
            Some(qualifier) => format!("{function}:{qualifier}"),
            None => function.to_owned(),
        };
        let call = self.about(read.operation(), &subject);
        let told = |failure: CallFailure| match fact(read, &failure) {
            Some(answer) => Ok((answer, CallMeta::default())),
            None => Err(failure.into_error(call)),
        };
        let Some(field) = read.list() else {
            return match self.side_page(read, function, qualifier, None).await {
                Ok(called) => {
                    let set = read.field().is_empty() || called.answer.get(read.field()).is_some();
                    let found = if set {
                        SideAnswer::Found(called.answer)
                    } else {
                        SideAnswer::NotSet
                    };
                    Ok((found, called.meta))
                }
                Err(failure) => told(failure),
            };
        };
        let mut all: Vec<Value> = Vec::new();
        let mut marker: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let called = match self
                .side_page(read, function, qualifier, marker.as_deref())
                .await
            {
                Ok(called) => called,
                Err(failure) => return told(failure),
            };
            let meta = called.meta.clone();
            let page = Page::read(called, field)
                .map_err(|why| unusable(read.operation(), &subject, why))?;
            all.extend(page.items.into_iter().map(Answer::into_value));
            match page.next {
                None if all.is_empty() => return Ok((SideAnswer::NotSet, meta)),
                None => {
                    return Ok((SideAnswer::Found(Answer::of_list(field, all)), meta));
                }
                next if next == marker => break,
                next => marker = next,
            }
        }
        Err(endless(read.operation(), &subject))
    }
}

/// What a failure says about the function; None where it says nothing about it.
fn fact(read: SideRead, failure: &CallFailure) -> Option<SideAnswer> {
    let status = failure.status?;
    match failure.kind {
        // A 404 of Lambda's own has a code; one without is a server that does not know the path.
        ErrorKind::NotFound if failure.code.is_some() => Some(SideAnswer::NotSet),
        ErrorKind::AccessDenied => Some(SideAnswer::Denied {
            code: failure.code.clone(),
            action: read.action(),
        }),
        _ => match status {
            404 | 405 | 501 => Some(SideAnswer::Unknown { status }),
            400 if failure.kind == ErrorKind::Usage => Some(SideAnswer::NotApplicable {
                code: failure.code.clone().unwrap_or_default(),
            }),
            _ => None,
        },
    }
}

/// The calls themselves: each operation has a builder type of its own in the SDK.
mod ask {
    use super::super::call::Called;
    use super::{CallFailure, Lambda, SideRead};

    /// Makes the call with the builder that `$build` answers, which gets the capture attached.
    macro_rules! send {
        ($lambda:ident, $call:ident, $read:ident, $build:expr) => {
            $lambda
                .try_call($call, $read.budget(), |capture| {
                    $build.customize().interceptor(capture).send()
                })
                .await
        };
    }

    impl Lambda {
        pub(super) async fn side_page(
            &self,
            read: SideRead,
            function: &str,
            qualifier: Option<&str>,
            marker: Option<&str>,
        ) -> Result<Called, CallFailure> {
            let subject = match &qualifier {
                Some(qualifier) => format!("{function}:{qualifier}"),
                None => function.to_owned(),
            };
            let call = self.about(read.operation(), &subject);
            let client = &self.client;
            let qualifier = qualifier.map(ToOwned::to_owned);
            let marker = marker.map(ToOwned::to_owned);
            match read {
                SideRead::Policy => send!(
                    self,
                    call,
                    read,
                    client
                        .get_policy()
                        .function_name(function)
                        .set_qualifier(qualifier.clone())
                ),
                SideRead::UrlConfigs => send!(
                    self,
                    call,
                    read,
                    client
                        .list_function_url_configs()
                        .function_name(function)
                        .set_marker(marker.clone())
                ),
                SideRead::EventInvokeConfigs => send!(
                    self,
                    call,
                    read,
                    client
                        .list_function_event_invoke_configs()
                        .function_name(function)
                        .set_marker(marker.clone())
                ),
                SideRead::CodeSigningConfig => send!(
                    self,
                    call,
                    read,
                    client
                        .get_function_code_signing_config()
                        .function_name(function)
                ),
                SideRead::RuntimeManagementConfig => send!(
                    self,
                    call,
                    read,
                    client
                        .get_runtime_management_config()
                        .function_name(function)
                        .set_qualifier(qualifier.clone())
                ),
                SideRead::ScalingConfig => send!(
                    self,
                    call,
                    read,
                    client
                        .get_function_scaling_config()
                        .function_name(function)
                        .qualifier(qualifier.clone().unwrap_or_else(|| "$LATEST".to_owned()))
                ),
                SideRead::ProvisionedConcurrencyConfigs => send!(
                    self,
                    call,
                    read,
                    client
                        .list_provisioned_concurrency_configs()
                        .function_name(function)
                        .set_marker(marker.clone())
                ),
                SideRead::RecursionConfig => send!(
                    self,
                    call,
                    read,
                    client
                        .get_function_recursion_config()
                        .function_name(function)
                ),
                SideRead::EventSourceMappings => send!(
                    self,
                    call,
                    read,
                    client
                        .list_event_source_mappings()
                        .set_marker(marker.clone())
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_fact_only_where_it_is_about_the_function() {
        let failure =
            |status, code: Option<&str>| CallFailure::from_answer(status, code, None, None, None);
        let fact = |status, code| fact(SideRead::Policy, &failure(status, code));
        assert_eq!(
            fact(404, Some("ResourceNotFoundException")),
            Some(SideAnswer::NotSet)
        );
        assert_eq!(
            fact(400, Some("InvalidParameterValueException")),
            Some(SideAnswer::NotApplicable {
                code: "InvalidParameterValueException".to_owned()
            })
        );
        assert!(matches!(
            fact(403, Some("AccessDeniedException")),
            Some(SideAnswer::Denied {
                action: "lambda:GetPolicy",
                ..
            })
        ));
        assert_eq!(fact(404, None), Some(SideAnswer::Unknown { status: 404 }));
        assert_eq!(fact(501, None), Some(SideAnswer::Unknown { status: 501 }));
        for (status, code) in [
            (429, Some("TooManyRequestsException")),
            (500, Some("ServiceException")),
            (403, Some("ExpiredTokenException")),
        ] {
            assert_eq!(fact(status, code), None, "{status}");
        }
    }

    #[test]
    fn each_read_is_an_operation_of_its_own() {
        for read in SideRead::ALL {
            assert_eq!(read.action(), format!("lambda:{}", read.operation()));
        }
    }
}
