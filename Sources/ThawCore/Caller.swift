/// The program behind a request, as the kernel names it. What `/proc` tells is read when it is asked for, so a value
/// costs nothing where nobody asks; a caller that waits for its answer is still there to be looked up.
package struct Caller: Sendable, Equatable {
    /// Thread id; 0 when it is unknown, because the caller is outside our pid namespace.
    package var thread: Int32
    /// Effective user id.
    package var uid: UInt32
    /// Effective group id.
    package var gid: UInt32

    package init(thread: Int32, uid: UInt32, gid: UInt32) {
        self.thread = thread
        self.uid = uid
        self.gid = gid
    }

    /// The name of the thread, then that of its process (of the thread-group leader) if it is another. Both count:
    /// programs name their threads, and io_uring reads on threads of the kernel's making. Each is cut by the kernel at
    /// `nameBytesMax`. Empty when the thread is unknown or gone. Reads three files of `/proc`.
    package var names: [String] {
        guard thread > 0, let name = Self.name(ofThread: thread) else { return [] }
        guard let status = readTextFile("/proc/\(thread)/status"), let leader = Self.leader(status: status),
            leader != thread, let process = Self.name(ofThread: leader), process != name
        else { return [name] }
        return [name, process]
    }

    /// The process, and the thread where that has a name of its own: `cat`, `python3/indexer`. Nil when it is unknown.
    package var name: String? {
        let names = names
        return names.isEmpty ? nil : names.reversed().joined(separator: "/")
    }

    /// The most bytes of a name that the kernel keeps (`TASK_COMM_LEN` less the NUL).
    package static let nameBytesMax = 15

    private static func name(ofThread thread: Int32) -> String? {
        guard var text = readTextFile("/proc/\(thread)/comm") else { return nil }
        if text.hasSuffix("\n") { text.removeLast() }
        return text.isEmpty ? nil : text
    }

    /// The thread-group leader, by the text of `/proc/TID/status`.
    static func leader(status: String) -> Int32? {
        for line in status.split(separator: "\n") where line.hasPrefix("Tgid:") {
            return Int32(line.dropFirst("Tgid:".count).drop { $0 == "\t" || $0 == " " })
        }
        return nil
    }
}

extension Caller: CustomStringConvertible {
    /// `cat[123] uid 0`; a name's control characters, which any program may give itself, become question marks.
    package var description: String {
        "\((name ?? "unknown").printable)[\(thread)] uid \(uid)"
    }
}
