import Glibc

/// The id of the calling thread, as the kernel has it: `/proc/thread-self` is a link to `PID/task/TID`.
package func currentThreadID() -> Int32 {
    var target = [CChar](repeating: 0, count: 64)
    let count = max(readlink("/proc/thread-self", &target, target.count), 0)
    let path = String(decoding: target.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return path.split(separator: "/").last.flatMap { Int32($0) } ?? 0
}
