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

    @Test("a file is open for writing for as long as a descriptor for that is left")
    func descriptors() throws {
        let place = try TemporaryDirectory()
        let caller = Caller(thread: getpid(), uid: 0, gid: 0)
        let first = open(place.path + "/f", O_WRONLY | O_CREAT, 0o600)
        let reading = open(place.path + "/f", O_RDONLY)
        var status = stat()
        #expect(fstat(first, &status) == 0)
        let inode = UInt64(status.st_ino)
        let second = dup(first)
        close(first)
        // The tests beside this one have thousands.
        #expect(caller.hasOpenForWriting(inode: inode, descriptorsMax: .max))
        #expect(!caller.hasOpenForWriting(inode: inode, descriptorsMax: 0))
        close(second)
        #expect(!caller.hasOpenForWriting(inode: inode, descriptorsMax: .max))
        close(reading)
        #expect(!Caller(thread: 0, uid: 0, gid: 0).hasOpenForWriting(inode: inode))
    }

    @Test(
        "what a descriptor is for is what its fdinfo says",
        arguments: [
            ("pos:\t0\nflags:\t0100001\nmnt_id:\t29\nino:\t7\n", true),
            ("pos:\t0\nflags:\t0100002\nmnt_id:\t29\nino:\t7\n", true),
            ("pos:\t0\nflags:\t0100000\nmnt_id:\t29\nino:\t7\n", false),
            ("pos:\t0\nflags:\t0100001\nmnt_id:\t29\nino:\t8\n", false),
            ("pos:\t0\nflags:\t0100001\nmnt_id:\t29\n", false), ("", false),
        ])
    func fdinfo(text: String, isForWriting: Bool) {
        #expect(Caller.isForWriting(info: text, inode: 7) == isForWriting)
    }

    @Test("the leader of a thread is what its status says")
    func leader() {
        #expect(Caller.leader(status: "Name:\tTgid:\t5\nUmask:\t0022\nTgid:\t1234\nNgid:\t0\n") == 1234)
        #expect(Caller.leader(status: "Name:\tcat\n") == nil)
    }
}
