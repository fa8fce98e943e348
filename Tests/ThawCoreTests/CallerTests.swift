import Glibc
import Synchronization
import Testing
import ThawTesting

@testable import ThawCore

@Suite("who is behind a request")
struct CallerTests {
    private struct Look: Sendable {
        var thread: Int32 = 0
        var names: [String] = []
        var name: String?
        var description = ""
    }

    private final class Looks: Sendable {
        private let value = Mutex(Look())
        var look: Look { value.withLock { $0 } }

        func take(_ caller: Caller) {
            let look = Look(
                thread: caller.thread, names: caller.names, name: caller.name, description: "\(caller)")
            value.withLock { $0 = look }
        }
    }

    /// What a thread of this name sees of itself.
    private static func look(fromThread name: String) throws -> Look {
        let looks = Looks()
        try ThawCore.Thread(name: name) { looks.take(Caller(thread: currentThreadID(), uid: 7, gid: 0)) }.join()
        return looks.look
    }

    private static func processName() throws -> String {
        try #require(readTextFile("/proc/\(getpid())/comm")).filter { $0 != "\n" }
    }

    @Test("a thread goes by its own name and by that of its process")
    func thread() throws {
        let process = try Self.processName()
        let look = try Self.look(fromThread: "indexer")
        #expect(look.names == ["indexer", process])
        #expect(look.name == "\(process)/indexer")
        #expect(look.description == "\(process)/indexer[\(look.thread)] uid 7")
    }

    @Test("a process with one name goes by that")
    func process() throws {
        let process = try Self.processName()
        let caller = Caller(thread: getpid(), uid: 0, gid: 0)
        #expect(caller.names == [process])
        #expect("\(caller)" == "\(process)[\(getpid())] uid 0")
    }

    @Test("a caller outside our pid namespace has no name, and one that is gone neither")
    func unknown() {
        #expect(Caller(thread: 0, uid: 1000, gid: 0).names.isEmpty)
        #expect(Caller(thread: 0, uid: 1000, gid: 0).name == nil)
        #expect("\(Caller(thread: 0, uid: 1000, gid: 0))" == "unknown[0] uid 1000")
        #expect(Caller(thread: .max, uid: 0, gid: 0).names.isEmpty)
    }

    @Test("control characters in a name do not reach the log")
    func control() throws {
        let look = try Self.look(fromThread: "a\nb\u{1b}[m")
        #expect(look.names.first == "a\nb\u{1b}[m")
        #expect(look.description.hasSuffix("/a?b?[m[\(look.thread)] uid 7"))
    }

    @Test("the leader of a thread is what its status says")
    func leader() {
        #expect(Caller.leader(status: "Name:\tTgid:\t5\nUmask:\t0022\nTgid:\t1234\nNgid:\t0\n") == 1234)
        #expect(Caller.leader(status: "Name:\tcat\n") == nil)
    }
}
