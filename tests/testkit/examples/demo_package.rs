//! Writes the package of larder's demo: `cargo run -p larder-testkit --example demo_package > testdata/zips/orders.zip`.

use std::io::Write as _;

use larder_testkit::packages;

fn main() -> std::io::Result<()> {
    // A Python package, and a file that does not compress, so that the download takes its time.
    let tree = packages::python_package().file("orders/model.bin", packages::sized(256 * 1024, 7));
    std::io::stdout().write_all(&tree.zip())
}
