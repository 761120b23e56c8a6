//! The options for what clients write in a head that can be read in several ways.

use super::Default::Is;
use super::Opt;

pub(super) const FIELD_NAMES: Opt = Opt {
    path: "listeners.NAME.field_names",
    value: "`\"strict\"`, `\"drop\"` or `\"keep\"`",
    default: Is("\"drop\""),
    summary: "What becomes of fields whose names hold anything but letters, digits and `-`, such as `X_User` or `X.User`: `strict` refuses the request with 400, `drop` removes them, from trailers too, and `keep` lets them pass.",
    protects: "CGI, WSGI, PHP and many a Java server make one variable of `X-User`, `X_User` and `X.User`, so that a caller could speak where only countersign or a proxy should. Identity fields are removed in every spelling whatever is written here, and so are spellings of `Content-Length` and `Transfer-Encoding`.",
    without: "such fields are removed",
    see: &["listeners.NAME.path"],
    example: "\"drop\"",
};

pub(super) const PATH: Opt = Opt {
    path: "listeners.NAME.path",
    value: "`\"reject\"`, `\"normalize\"` or `\"raw\"`",
    default: Is("\"reject\""),
    summary: "What becomes of paths that services read in several ways. `reject` refuses with 400 what one server decodes and another does not: encoded slashes and backslashes, raw backslashes, `.` and `..` segments, double and broken encoding, encoded control characters. `normalize` brings a path into one form (RFC 3986 section 6.2.2: needless encoding undone, `.` and `..` resolved, `//` made one) before the route is chosen, and sends exactly that form; what has no safe form is refused. `raw` sends it as it came, if it takes the same route with the same decision in every reading; segments of dots are refused.",
    protects: "A path that is permitted here must not be served as another there. Choose `raw` for services that need `%2F` within a segment (object stores, artifact repositories), and none that decodes paths more than once.",
    without: "paths that could be read in several ways are refused",
    see: &["routes[].path", "listeners.NAME.field_names"],
    example: "\"reject\"",
};
