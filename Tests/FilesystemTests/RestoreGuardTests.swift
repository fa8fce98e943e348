import Filesystem
import Glibc
import Synchronization
import Restore
import Testing
import ThawCore
import ThawTesting

@Suite("who and how much may restore by reading")
struct RestoreGuardTests {
    private final class Answer: Sendable {
        private let text = Mutex<String?>(nil)
        var name: String? { text.withLock { $0 } }
        func take(_ name: String?) { text.withLock { $0 = name } }
    }

    /// What the list has of a thread of this name in this process.
    private static func match(_ denial: RestoreDenial, thread name: String) throws -> String? {
        let answer = Answer()
        let look: @Sendable () -> Void = {
            answer.take(denial.match(Caller(thread: currentThreadID(), uid: 0, gid: 0)))
        }
        try ThawCore.Thread(name: name, look).join()
        return answer.name
    }

    @Test(
        "a thread is denied by its name, as the kernel cuts it",
        arguments: [
            ("updatedb", "updatedb", "updatedb"),
            ("baloo_file_extractor", "baloo_file_extractor", "baloo_file_extr"),
            ("baloo_file_extractor", "baloo_file_extra", "baloo_file_extr"),
            ("baloo_file", "baloo_file_extractor", nil),
            ("Updatedb", "updatedb", nil),
            // The cut goes through a character.
            ("12345678901234é", "12345678901234é", "12345678901234\u{fffd}"),
        ])
    func names(listed: String, thread: String, expected: String?) throws {
        #expect(try Self.match(RestoreDenial(["tumblerd", listed]), thread: thread) == expected)
    }

    @Test("a thread is denied by the name of its process")
    func process() throws {
        let process = try #require(readTextFile("/proc/\(getpid())/comm")).filter { $0 != "\n" }
        #expect(try Self.match(RestoreDenial([process]), thread: "anything") == process)
    }

    @Test("a caller that nothing is known of is not denied")
    func unknown() {
        #expect(RestoreDenial.standard.match(Caller(thread: 0, uid: 0, gid: 0)) == nil)
    }

    @Test("a list is names between colons; none of them empty, none a path")
    func parsing() {
        #expect(RestoreDenial(parsing: "a:b c") == RestoreDenial(["b c", "a"]))
        #expect(RestoreDenial(parsing: "") == RestoreDenial([]))
        for text in [":", "a:", ":a", "a::b", "/usr/bin/updatedb"] { #expect(RestoreDenial(parsing: text) == nil) }
    }

    @Test("a budget is a size and a time")
    func budget() {
        #expect(RestoreBudget(parsing: "100G/1d") == RestoreBudget(bytes: 100 << 30, window: .seconds(86_400)))
        #expect(RestoreBudget(parsing: "1/60") == RestoreBudget(bytes: 1, window: .seconds(60)))
        #expect(RestoreBudget(parsing: "5T/31d") == RestoreBudget(bytes: 5 << 40, window: .seconds(31 * 86_400)))
        let wrong = ["", "100G", "100G/", "/1d", "100G/1d/1d", "0/1d", "1G/59s", "1G/32d", "1G/day", "lots/1d", "-1/1d"]
        for text in wrong { #expect(RestoreBudget(parsing: text) == nil) }
    }
}
