import Glibc
import ThawCore

/// How a mount goes to the background: the command starts itself anew and waits on a pipe for a word.
///
/// A fresh process and not a fork, because the Swift runtime, SQLite and libcurl do not survive one.
enum Readiness {
    private static let variable = "THAWFS_READY_DESCRIPTOR"
    private static let ready = "ready"

    /// The descriptor to report to, in the process that serves, which leaves the terminal's session by this; nil in
    /// the command that a user typed.
    static func descriptor(_ environment: [String: String]) -> Int32? {
        guard let descriptor = environment[variable].flatMap({ Int32($0) }) else { return nil }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        setsid()
        return descriptor
    }

    /// Reports once, and lets the waiting command go. False when it is gone already.
    @discardableResult
    static func report(_ failure: String?, to descriptor: Int32) -> Bool {
        let bytes = Array((failure ?? ready).utf8)
        defer { close(descriptor) }
        return write(descriptor, bytes, bytes.count) == bytes.count
    }

    /// Starts this program again and waits for its word. Throws what it reports.
    static func startBackground(_ arguments: [String], _ environment: [String: String]) throws {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw UsageError("pipe: \(errorText(errno))") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let inherited: Int32 = 3
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], inherited)
        let variables = environment.merging([variable: "\(inherited)"]) { $1 }.map { "\($0)=\($1)" }
        var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        var settings: [UnsafeMutablePointer<CChar>?] = variables.map { strdup($0) } + [nil]
        defer { for text in words + settings { free(text) } }
        var pid = pid_t()
        let code = posix_spawn(&pid, "/proc/self/exe", &actions, nil, &words, &settings)
        close(ends[1])
        defer { close(ends[0]) }
        guard code == 0 else { throw UsageError("cannot start the daemon: \(errorText(code))") }
        let word = readAll(ends[0])
        if word == ready { return }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) == -1, errno == EINTR {}
        throw UsageError(word.isEmpty ? "the daemon ended without a word (wait status \(status)); see its log" : word)
    }

    private static func readAll(_ descriptor: Int32) -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            if count == -1, errno == EINTR { continue }
            if count <= 0 { break }
            bytes += buffer[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
