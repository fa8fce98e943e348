import Glibc
import Synchronization
import Testing
import ThawCore

private actor Confined {
    private let executor: ThreadExecutor
    private(set) var values: [Int] = []
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(_ executor: ThreadExecutor) { self.executor = executor }

    func append(_ value: Int) { values.append(value) }
    func thread() -> UInt { UInt(pthread_self()) }
}

@Suite("threads")
struct ThreadTests {
    @Test("a thread runs its work, with its signals blocked, and can be joined")
    func runs() throws {
        let seen = Seen()
        let thread = try ThawCore.Thread(name: "a-name-that-is-far-too-long") {
            var signals = sigset_t()
            pthread_sigmask(SIG_BLOCK, nil, &signals)
            seen.note([SIGTERM, SIGINT, SIGHUP].allSatisfy { sigismember(&signals, $0) == 1 })
        }
        thread.join()
        #expect(seen.isTrue == true)
    }

    private final class Seen: Sendable {
        private let value = Mutex<Bool?>(nil)
        var isTrue: Bool? { value.withLock { $0 } }
        func note(_ new: Bool) { value.withLock { $0 = new } }
    }

    @Test("an actor on a thread executor always runs on one thread, one job at a time")
    func executor() async throws {
        let actor = Confined(try ThreadExecutor(name: "test"))
        let thread = await actor.thread()
        await withTaskGroup(of: UInt.self) { group in
            for value in 0..<200 {
                group.addTask {
                    await actor.append(value)
                    return await actor.thread()
                }
            }
            for await other in group { #expect(other == thread) }
        }
        #expect(await actor.values.sorted() == Array(0..<200))
    }

    @Test("rings before the wait count as one, and one wait takes them all")
    func wakeup() throws {
        let wakeup = try Wakeup()
        wakeup.signal()
        wakeup.signal()
        wakeup.wait()
        let seen = Seen()
        let thread = try ThawCore.Thread(name: "waiter") {
            wakeup.wait()
            seen.note(true)
        }
        #expect(seen.isTrue == nil)
        wakeup.signal()
        thread.join()
        #expect(seen.isTrue == true)
    }
}
