internal import CThaw
internal import Glibc

package enum ExtendedAttribute {
    package struct Failure: Error { package let errno: Int32 }

    /// The value of an extended attribute of up to 64 KiB, the kernel's limit. Symbolic links are followed.
    ///
    /// - Parameter path: ended by a NUL
    package static func value(_ name: String, of path: [CChar]) throws(Failure) -> [UInt8] {
        var value = [UInt8](repeating: 0, count: 4096)
        var count = getxattr(path, name, &value, value.count)
        if count < 0, errno == ERANGE {
            value = [UInt8](repeating: 0, count: 65_536)
            count = getxattr(path, name, &value, value.count)
        }
        guard count >= 0 else { throw Failure(errno: errno) }
        return Array(value[..<count])
    }
}
