//! Which IAM actions larder needs: operation, action, resource, when.
//!
//! An operation's name is not always that of the action that allows it. Hints take the action from here, the README has
//! the table, and a test holds both against what AWS was asked.

/// A permission that a command needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// What is called; None where no call of larder's own stands behind it.
    pub operation: Option<&'static str>,
    /// The IAM action (Service Authorization Reference).
    pub action: &'static str,
    /// The resource that a policy names.
    pub resource: &'static str,
    /// When it is needed.
    pub when: &'static str,
    /// Which commands.
    pub commands: &'static str,
}

/// All of them.
pub const PERMISSIONS: &[Permission] = &[
    Permission {
        operation: Some("GetFunction"),
        action: "lambda:GetFunction",
        resource: "the function; with a qualifier `FUNCTION_ARN:QUALIFIER`",
        when: "always; `check` and `lock` only where a digest is new, to look into the package",
        commands: "fetch, snapshot, check, lock, backup, restore",
    },
    Permission {
        operation: None,
        action: "lambda:ListTags",
        resource: "the function",
        when: "for the tags in GetFunction's answer; without it the record is `partial`",
        commands: "fetch, snapshot, backup",
    },
    Permission {
        operation: None,
        action: "kms:Decrypt",
        resource: "the KMS key",
        when: "where environment or code are encrypted with a key of your own",
        commands: "fetch, snapshot, check, lock, backup",
    },
    Permission {
        operation: Some("GetLayerVersionByArn"),
        action: "lambda:GetLayerVersion",
        resource: "the layer version",
        when: "with `--layers`; in a snapshot, a backup and for a lock always; `check` only where layer versions differ",
        commands: "fetch, snapshot, check, lock, backup, restore",
    },
    Permission {
        operation: Some("GetObject"),
        action: "s3:GetObjectVersion",
        resource: "the object (`s3:GetObject` in a bucket without versions)",
        when: "where Lambda keeps no copy of the code (`S3ObjectStorageMode` is `REFERENCE`)",
        commands: "fetch, snapshot, check, lock, backup, restore",
    },
    Permission {
        operation: Some("GetAuthorizationToken"),
        action: "ecr:GetAuthorizationToken",
        resource: "`*`",
        when: "with `--pull-image`, of an image in ECR; `check` for an index that is expected, and with `--resolve-tags`",
        commands: "fetch, snapshot, backup, check",
    },
    Permission {
        operation: Some("GetManifest"),
        action: "ecr:BatchGetImage",
        resource: "the repository; another account's must allow it in its policy too",
        when: "with `--pull-image`, of an image in ECR; `check` for an index that is expected, and with `--resolve-tags`",
        commands: "fetch, snapshot, backup, check",
    },
    Permission {
        operation: Some("GetBlob"),
        action: "ecr:GetDownloadUrlForLayer",
        resource: "the repository; another account's must allow it in its policy too",
        when: "with `--pull-image`, of an image in ECR",
        commands: "fetch, snapshot, backup",
    },
    Permission {
        operation: Some("ListFunctions"),
        action: "lambda:ListFunctions",
        resource: "`*`: it takes no resource",
        when: "always; of a snapshot with `--all`; `check` and `lock` for more than 10 functions, and with `--all`",
        commands: "list, snapshot, check, lock, backup",
    },
    Permission {
        operation: Some("GetFunctionConfiguration"),
        action: "lambda:GetFunctionConfiguration",
        resource: "the function; with a qualifier `FUNCTION_ARN:QUALIFIER`",
        when: "for up to 10 functions, and where a digest differs; by `backup` for a version that is named",
        commands: "check, lock, backup, restore",
    },
    Permission {
        operation: Some("ListAliases"),
        action: "lambda:ListAliases",
        resource: "the function",
        when: "always in a snapshot and a backup (but for `--config none`); for a lock, and with `--aliases` or a `--qualifier` that is an alias",
        commands: "snapshot, check, lock, backup, restore",
    },
    Permission {
        operation: Some("DescribeRegions"),
        action: "ec2:DescribeRegions",
        resource: "`*`: it takes no resource",
        when: "with `--all-regions`",
        commands: "list, backup",
    },
    Permission {
        operation: Some("GetResources"),
        action: "tag:GetResources",
        resource: "`*`: it takes no resource",
        when: "with `--tag`",
        commands: "list, snapshot, check, lock, backup",
    },
    Permission {
        operation: Some("ListStackResources"),
        action: "cloudformation:ListStackResources",
        resource: "the stack",
        when: "with `--cdk` or `--stack`, for functions that have no name in the template",
        commands: "check",
    },
    Permission {
        operation: Some("ListVersionsByFunction"),
        action: "lambda:ListVersionsByFunction",
        resource: "the function",
        when: "always in a snapshot; by `backup` for functions that are named without a version",
        commands: "snapshot, backup, restore",
    },
    Permission {
        operation: Some("GetPolicy"),
        action: "lambda:GetPolicy",
        resource: "the function; with a qualifier `FUNCTION_ARN:QUALIFIER`",
        when: "for the policies of function, versions and aliases; by `backup` with `--config full`",
        commands: "snapshot, backup",
    },
    Permission {
        operation: Some("ListFunctionUrlConfigs"),
        action: "lambda:ListFunctionUrlConfigs",
        resource: "the function",
        when: "for its URLs; by `backup` with `--config full`",
        commands: "snapshot, backup",
    },
    Permission {
        operation: Some("ListFunctionEventInvokeConfigs"),
        action: "lambda:ListFunctionEventInvokeConfigs",
        resource: "the function",
        when: "for its asynchronous invocation; by `backup` with `--config full`",
        commands: "snapshot, backup",
    },
    Permission {
        operation: Some("GetFunctionCodeSigningConfig"),
        action: "lambda:GetFunctionCodeSigningConfig",
        resource: "the function",
        when: "of zip functions; by `backup` with `--config full`",
        commands: "snapshot, backup",
    },
    Permission {
        operation: Some("GetRuntimeManagementConfig"),
        action: "lambda:GetRuntimeManagementConfig",
        resource: "the function",
        when: "for each version; by `backup` with `--config full`",
        commands: "snapshot, backup",
    },
    Permission {
        operation: Some("GetFunctionScalingConfig"),
        action: "lambda:GetFunctionScalingConfig",
        resource: "the function",
        when: "where it has a `CapacityProviderConfig`; by `backup` with `--config full`",
        commands: "snapshot, backup",
    },
    Permission {
        operation: Some("ListProvisionedConcurrencyConfigs"),
        action: "lambda:ListProvisionedConcurrencyConfigs",
        resource: "the function",
        when: "for its provisioned concurrency; by `backup` with `--config full`",
        commands: "snapshot, backup",
    },
    Permission {
        operation: Some("GetFunctionRecursionConfig"),
        action: "lambda:GetFunctionRecursionConfig",
        resource: "the function",
        when: "for its recursion control; by `backup` with `--config full`",
        commands: "snapshot, backup",
    },
    Permission {
        operation: Some("ListEventSourceMappings"),
        action: "lambda:ListEventSourceMappings",
        resource: "`*`: it takes no resource",
        when: "once a region; by `backup` with `--config full`",
        commands: "snapshot, backup, restore",
    },
    Permission {
        operation: Some("ListLayers"),
        action: "lambda:ListLayers",
        resource: "`*`: it takes no resource",
        when: "with `--layers all`",
        commands: "backup",
    },
    Permission {
        operation: Some("ListLayerVersions"),
        action: "lambda:ListLayerVersions",
        resource: "the layer",
        when: "with `--layers all`; by `--to-lambda`, for a layer version of the same code",
        commands: "backup, restore",
    },
    Permission {
        operation: Some("CreateFunction"),
        action: "lambda:CreateFunction",
        resource: "the function",
        when: "by `--to-lambda`, of a function that is gone; its role needs `iam:PassRole`, a VPC `ec2:DescribeSubnets` and more",
        commands: "restore",
    },
    Permission {
        operation: Some("UpdateFunctionCode"),
        action: "lambda:UpdateFunctionCode",
        resource: "the function",
        when: "by `--to-lambda`, where the code differs",
        commands: "restore",
    },
    Permission {
        operation: Some("UpdateFunctionConfiguration"),
        action: "lambda:UpdateFunctionConfiguration",
        resource: "the function",
        when: "by `--to-lambda`, where the configuration differs",
        commands: "restore",
    },
    Permission {
        operation: Some("PublishVersion"),
        action: "lambda:PublishVersion",
        resource: "the function",
        when: "by `--to-lambda` with `--publish` or `--versions all`",
        commands: "restore",
    },
    Permission {
        operation: Some("CreateAlias"),
        action: "lambda:CreateAlias",
        resource: "the function",
        when: "by `--to-lambda`, for an alias that is gone",
        commands: "restore",
    },
    Permission {
        operation: Some("UpdateAlias"),
        action: "lambda:UpdateAlias",
        resource: "the function",
        when: "by `--to-lambda`, for an alias that leads elsewhere",
        commands: "restore",
    },
    Permission {
        operation: Some("TagResource"),
        action: "lambda:TagResource",
        resource: "the function",
        when: "by `--to-lambda`, for tags, and to create a function that had some",
        commands: "restore",
    },
    Permission {
        operation: Some("PutFunctionConcurrency"),
        action: "lambda:PutFunctionConcurrency",
        resource: "the function",
        when: "by `--to-lambda`, for reserved concurrency",
        commands: "restore",
    },
    Permission {
        operation: Some("CreateEventSourceMapping"),
        action: "lambda:CreateEventSourceMapping",
        resource: "`*`, or with the condition key `lambda:FunctionArn`",
        when: "by `--to-lambda`, for event sources that a backup with `--config full` has",
        commands: "restore",
    },
    Permission {
        operation: Some("PublishLayerVersion"),
        action: "lambda:PublishLayerVersion",
        resource: "the layer",
        when: "by `--to-lambda`, for a layer version that is gone",
        commands: "restore",
    },
    Permission {
        operation: Some("PutObject"),
        action: "s3:PutObject",
        resource: "the staging bucket's `larder-restore/*`, with `s3:DeleteObject` and `s3:GetObject`",
        when: "by `--to-lambda`, for packages over 50 MiB",
        commands: "restore",
    },
    Permission {
        operation: Some("GetCallerIdentity"),
        action: "sts:GetCallerIdentity",
        resource: "`*`: no policy is needed",
        when: "for who took the evidence; for the account, in `check` with `--store`, `--cdk` or `--sam`",
        commands: "snapshot, backup, check, restore",
    },
    Permission {
        operation: Some("AssumeRole"),
        action: "sts:AssumeRole",
        resource: "the role",
        when: "with `--role-arn`, or a profile that names a role",
        commands: "all that call AWS",
    },
];

/// The action that allows `operation`.
pub(super) fn action_of(operation: &str) -> &'static str {
    PERMISSIONS
        .iter()
        .find(|permission| permission.operation == Some(operation))
        .map_or("lambda:*", |permission| permission.action)
}

/// The table as the README has it.
pub fn markdown() -> String {
    use std::fmt::Write as _;
    PERMISSIONS.iter().fold(
        String::from(
            "| operation | IAM action | resource | when | commands |\n|---|---|---|---|---|\n",
        ),
        |mut out, p| {
            // Writing to a String does not fail.
            let _ = writeln!(
                out,
                "| {} | `{}` | {} | {} | {} |",
                p.operation.unwrap_or("(none of its own)"),
                p.action,
                p.resource,
                p.when,
                p.commands
            );
            out
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        let readme = std::fs::read_to_string(path).unwrap();
        assert!(
            readme.contains(&markdown()),
            "README.md lacks this table:\n{}",
            markdown()
        );
    }

    #[test]
    fn every_operation_has_an_action() {
        for permission in PERMISSIONS {
            let (service, action) = permission.action.split_once(':').unwrap();
            assert!(!service.is_empty() && !action.is_empty());
        }
        assert_eq!(action_of("GetLayerVersionByArn"), "lambda:GetLayerVersion");
    }
}
