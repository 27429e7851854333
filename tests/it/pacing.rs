//! How many calls a second AWS sees: one budget an account and region, whoever calls, slowed down by 429.

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::aws::{AccessKeys, Session, SessionOptions};
use larder::function::FunctionRef;
use larder::lambda::Lambda;
use larder_testkit::{FakeAws, Fault, Key, On, REGION, Request, access_key, packages};

use crate::harness::Bench;
use crate::proof::each;

/// When each of these calls reached AWS, in order.
fn arrivals(aws: &FakeAws, which: impl Fn(&Request) -> bool) -> Vec<Instant> {
    let requests = aws.requests();
    let mut times: Vec<_> = requests
        .iter()
        .filter(|r| which(r))
        .map(|r| r.started)
        .collect();
    times.sort();
    times
}

/// The calls were spaced for `rate` a second: in no second more, and all of them not much later than that needs.
#[track_caller]
fn assert_paced(times: &[Instant], rate: f64, what: &str) {
    let most = times
        .iter()
        .enumerate()
        .map(|(n, first)| {
            times[n..]
                .iter()
                .take_while(|t| **t - *first < Duration::from_secs(1))
                .count()
        })
        .max()
        .unwrap_or_default();
    // A call may be up to half an interval early after one that was late, and come late itself.
    #[expect(clippy::cast_precision_loss, reason = "a few calls")]
    let (most, count) = (most as f64, times.len() as f64);
    assert!(
        most <= rate + 2.0,
        "{what}: {most} calls within a second, {rate} were wanted"
    );
    let took = (times[times.len() - 1] - times[0]).as_secs_f64();
    let needed = (count - 1.0) / rate;
    assert!(
        took > needed * 0.97 - 0.02,
        "{what}: {took:.2} s for {count} calls, {needed:.2} s at least"
    );
    // A machine that builds something beside this is slow; one that waits too long by design is slower than this.
    assert!(
        took < needed * 2.0 + 3.0,
        "{what}: {took:.2} s for {count} calls, {needed:.2} s would do"
    );
}

fn options(aws: &FakeAws, max_rate: f64) -> SessionOptions {
    SessionOptions {
        keys: Some(AccessKeys {
            access_key_id: access_key(Key::Valid).to_owned(),
            secret_access_key: "secret".to_owned(),
            session_token: None,
        }),
        region: Some(REGION.to_owned()),
        endpoint_url: Some(aws.endpoint().to_owned()),
        max_rate,
        ..SessionOptions::default()
    }
}

/// An account with `count` functions, of which fifty come in a page.
fn functions(bench: &Bench, count: usize) {
    for n in 0..count {
        let digest = format!("{n:064x}");
        bench
            .aws
            .function(&format!("f{n}"))
            .image("r:t", &digest)
            .create();
    }
}

#[test]
fn max_rate_is_what_aws_sees() {
    let cases: [(&[&str], f64, usize); 3] = [
        (&["--max-rate", "10"], 10.0, 20),
        (&["--max-rate", "2"], 2.0, 5),
        // The default.
        (&[], 5.0, 10),
    ];
    each(
        &cases,
        |case| format!("{:?}", case.0),
        |&(arguments, rate, pages)| {
            let bench = Bench::new();
            functions(&bench, pages * 50);
            let mut all = vec!["list", "--output", "json"];
            all.extend(arguments);
            bench.run(&all).expect(0);
            let times = arrivals(&bench.aws, |r| r.operation == "ListFunctions");
            assert_eq!(times.len(), pages);
            assert_paced(&times, rate, "ListFunctions");
        },
    );
}

/// Many tasks, several clients and sessions: together they keep to the budget; GetFunction's is 100/15 of the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_tasks_and_clients_of_an_account_and_region_share_its_budgets() {
    let aws = FakeAws::start();
    aws.function("web")
        .zip(packages::python_package().zip())
        .create();
    let layer = aws.layer("l").zip(packages::layer_package().zip()).create();
    let common = options(&aws, 6.0);
    let one = Session::connect(&common, None).await.unwrap();
    let other = Session::connect(&common.clone(), None).await.unwrap();
    let same = one.in_region(REGION).unwrap();
    let elsewhere = one.in_region("eu-west-1").unwrap();
    let clients: Vec<_> = [one, other, same]
        .iter()
        .map(|session| Lambda::new(session, Arc::new(())))
        .collect();
    let function = FunctionRef::new("web", None).unwrap();
    let (mut functions, mut layers) = (Vec::new(), Vec::new());
    for n in 0..60 {
        let (lambda, function) = (clients[n % 3].clone(), function.clone());
        functions.push(tokio::spawn(async move {
            lambda.describe(&function).await.map(drop)
        }));
    }
    for n in 0..12 {
        let (lambda, arn) = (clients[n % 3].clone(), layer.clone());
        layers.push(tokio::spawn(async move {
            lambda.describe_layer(&arn).await.map(drop)
        }));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Another region has a budget of its own, and need not wait.
    let began = Instant::now();
    let elsewhere = Lambda::new(&elsewhere, Arc::new(()));
    assert!(
        elsewhere.describe(&function).await.is_err(),
        "it is not deployed there"
    );
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    for task in functions.into_iter().chain(layers) {
        task.await.unwrap().unwrap();
    }
    let get_function: Vec<_> = arrivals(&aws, |r| {
        r.operation == "GetFunction" && r.status == Some(200)
    });
    assert_eq!(get_function.len(), 60);
    assert_paced(&get_function, 40.0, "GetFunction");
    let layers = arrivals(&aws, |r| r.operation == "GetLayerVersionByArn");
    assert_eq!(layers.len(), 12);
    assert_paced(&layers, 6.0, "GetLayerVersionByArn");
}

/// Calls of one budget, many at once, of which one is throttled.
async fn throttled_once(retry_after: Option<u64>) -> (Vec<Instant>, Instant) {
    let aws = FakeAws::start();
    let layer = aws.layer("l").zip(packages::layer_package().zip()).create();
    let session = Session::connect(&options(&aws, 10.0), None).await.unwrap();
    let lambda = Lambda::new(&session, Arc::new(()));
    aws.fault(On::Layer.nth(4), Fault::throttled(retry_after));
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (lambda, arn) = (lambda.clone(), layer.clone());
            tokio::spawn(async move { lambda.describe_layer(&arn).await.map(drop) })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let throttled = aws.requests_of("GetLayerVersionByArn");
    let throttled = throttled
        .iter()
        .find(|r| r.status == Some(429))
        .unwrap()
        .finished
        .unwrap();
    (
        arrivals(&aws, |r| r.operation == "GetLayerVersionByArn"),
        throttled,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_429_halves_the_rate_of_all_who_wait() {
    let (times, throttled) = Box::pin(throttled_once(None)).await;
    assert_eq!(times.len(), 17);
    assert_paced(&times[..4], 10.0, "before");
    let after: Vec<_> = times.into_iter().filter(|t| *t > throttled).collect();
    assert_eq!(after.len(), 13);
    // Half of 10, and a little more with each second: a fortieth of the full speed.
    let took = (after[12] - after[0]).as_secs_f64();
    assert!((1.9..4.0).contains(&took), "{took:.2} s for 13 calls");
    let (first, second) = (after[1] - after[0], after[2] - after[1]);
    for gap in [first, second] {
        assert!(gap > Duration::from_millis(170), "{gap:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_calls_before_retry_after_has_passed() {
    let (times, throttled) = Box::pin(throttled_once(Some(2))).await;
    assert_eq!(times.len(), 17);
    let after: Vec<_> = times.into_iter().filter(|t| *t > throttled).collect();
    assert_eq!(after.len(), 13, "others had not been asked yet");
    let held = after[0] - throttled;
    assert!(held > Duration::from_millis(1950), "{held:?}");
    assert!(
        after[1] - after[0] > Duration::from_millis(170),
        "at half the rate"
    );
}

/// An account whose budget others use up: larder finds the rate that is left, and all pages arrive.
#[test]
fn it_adapts_to_what_an_account_has_left() {
    let bench = Bench::new();
    functions(&bench, 20 * 50);
    bench.aws.call_limit(Some(4.0));
    let ran = bench
        .run(&["list", "--output", "json", "--max-rate", "15"])
        .expect(0);
    assert_eq!(ran.stdout.lines().count(), 1000);
    let requests = bench.aws.requests_of("ListFunctions");
    let throttled = requests.iter().filter(|r| r.status == Some(429)).count();
    assert_eq!(requests.len(), 20 + throttled);
    assert!((1..=6).contains(&throttled), "throttled {throttled} times");
}
