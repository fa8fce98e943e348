internal import Glibc

/// The C library's words for an errno.
package func errorText(_ code: Int32) -> String {
    String(cString: strerror(code))
}
