import ObjectStore
import Restore
import Synchronization
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Filesystem

private let key = ObjectKey("f")

/// Counts what it is told; says when it was dropped.
private final class Told: Sendable {
    private let counts = Mutex((notices: 0, drops: 0))
    var notices: Int { counts.withLock { $0.notices } }
    var drops: Int { counts.withLock { $0.drops } }

    private final class Owner: Sendable {
        let told: Told
        init(_ told: Told) { self.told = told }
        deinit { told.counts.withLock { $0.drops += 1 } }
    }

    /// As the kernel's poll handle is: something that goes when nobody has it any more.
    func notice() -> @Sendable () -> Void {
        let owner = Owner(self)
        return { owner.told.counts.withLock { $0.notices += 1 } }
    }
}

/// One file that is open, on a mount whose reads answer `EAGAIN`.
private struct OpenFile {
    let fixture: Fixture
    let inode: UInt64
    let handle: UInt64
    let told = Told()

    init(class name: String = "ColdArchive") async throws {
        var frozen = FrozenPolicy()
        frozen.behaviour = .eagain
        frozen.eagainAt = .read
        fixture = try Fixture(frozen: frozen, [])
        fixture.store.put(key, [1, 2, 3], class: name)
        inode = try #require(try await fixture.lookup("f")).inode
        handle = try await fixture.filesystem.open(inode, caller: .unknown).handle
    }

    func poll() -> Readiness { fixture.filesystem.poll(handle, notice: told.notice()) }

    /// What a read of it comes to.
    func read() async -> FileError? {
        do throws(FileError) {
            _ = try await fixture.filesystem.read(handle, offset: 0, sizeBytes: 10, caller: .unknown)
            return nil
        } catch {
            return error
        }
    }

    func restore() { fixture.store.change(key) { $0.restore = .restored(until: nil) } }

    /// Somebody looks at it.
    func learn() async { await fixture.filesystem.learned(key, version: nil, fixture.store.record(key)) }

    /// Polled while its restore is under way.
    static func waiting() async throws -> OpenFile {
        let file = try await OpenFile()
        #expect(await file.read() == .frozen)
        #expect(file.poll() == .waiting)
        #expect(file.told.notices == 0)
        return file
    }
}

@Suite("polling open files")
struct PollingTests {
    @Test("a hot file is ready, and its poller is never told anything")
    func hot() async throws {
        let file = try await OpenFile(class: "Standard")
        #expect(file.poll() == .ready)
        await file.learn()
        #expect(await file.read() == nil)
        #expect(file.told.notices == 0)
    }

    @Test("a frozen file that nobody restores is ready, for the read that restores it; polling sends nothing")
    func frozen() async throws {
        let file = try await OpenFile()
        let calls = file.fixture.store.calls.count
        for _ in 0..<3 { #expect(file.poll() == .ready) }
        #expect(file.fixture.store.calls.count == calls)
    }

    @Test("whoever polls a file during its restore is told once when it is readable")
    func restored() async throws {
        let file = try await OpenFile.waiting()
        await file.learn()
        #expect(file.told.notices == 0)
        file.restore()
        await file.learn()
        await file.learn()
        #expect(file.told.notices == 1)
        #expect(file.poll() == .ready)
        #expect(await file.read() == nil)
        #expect(file.fixture.store.orders.count == 1)
    }

    @Test("whoever polled before the read that answered EAGAIN, and never again, is told too")
    func edge() async throws {
        let file = try await OpenFile()
        #expect(file.poll() == .ready)
        #expect(await file.read() == .frozen)
        #expect(file.told.notices == 0)
        file.restore()
        await file.learn()
        #expect(file.told.notices == 1)
    }

    @Test("a listing that shows the copy tells, too")
    func listing() async throws {
        let file = try await OpenFile.waiting()
        file.restore()
        // Beyond what the lookup learned a moment ago.
        file.fixture.filesystem.forgetEverything()
        _ = try await file.fixture.names(plus: true)
        #expect(file.told.notices == 1)
        #expect(file.poll() == .ready)
    }

    @Test("a refresh of a polled file asks the store, and tells")
    func refresh() async throws {
        let file = try await OpenFile.waiting()
        file.restore()
        try await file.fixture.filesystem.setAttribute(file.inode, .refresh, value: [], caller: .unknown)
        #expect(await eventually { file.told.notices > 0 })
        #expect(file.poll() == .ready)
    }

    @Test(
        "a file that is gone, was replaced, or lost its restore, fails its pollers",
        arguments: ["gone", "replaced", "lost"])
    func failed(_ what: String) async throws {
        let file = try await OpenFile.waiting()
        switch what {
        case "gone":
            file.fixture.store.remove(key)
            await file.learn()
        case "replaced":
            file.fixture.store.put(key, [4], class: "ColdArchive")
            await file.learn()
        default:
            file.fixture.filesystem.restoreEnded(key, version: nil, .failed("lost"))
        }
        #expect(file.told.notices == 1)
        #expect(file.poll() == .failed)
    }

    @Test("restores that are cancelled with their directory fail their pollers, and no others")
    func cancelled() async throws {
        let file = try await OpenFile.waiting()
        file.fixture.filesystem.restoresCancelled(below: ObjectKey("d/"))
        #expect(file.told.notices == 0)
        #expect(file.poll() == .waiting)
        file.fixture.filesystem.restoresCancelled(below: ObjectKey(""))
        #expect(file.told.notices == 1)
        #expect(file.poll() == .failed)
    }

    @Test("after a restore that failed, a read asks anew and its pollers wait anew")
    func again() async throws {
        let file = try await OpenFile.waiting()
        file.fixture.filesystem.restoreEnded(key, version: nil, .failed("lost"))
        #expect(file.told.notices == 1)
        #expect(await file.read() == .frozen)
        #expect(file.poll() == .waiting)
        file.restore()
        await file.learn()
        #expect(file.told.notices == 2)
    }

    @Test("a restore that the store refuses fails whoever polls, and the read tells why")
    func refused() async throws {
        let file = try await OpenFile()
        #expect(file.poll() == .ready)
        file.fixture.store.script { (call) throws(StoreError) in
            guard case .restore = call else { return }
            throw StoreError(.denied, status: 403, code: "AccessDenied", message: "no")
        }
        #expect(await file.read() == .denied)
        #expect(file.told.notices == 1)
        #expect(file.poll() == .failed)
    }

    @Test("a newer poller takes the place of an older one, and a close drops the last")
    func replaced() async throws {
        let file = try await OpenFile.waiting()
        #expect(file.told.drops == 0)
        #expect(file.poll() == .waiting)
        #expect(file.told.drops == 1)
        // Nobody waits: the one before stays.
        #expect(file.fixture.filesystem.poll(file.handle, notice: nil) == .waiting)
        #expect(file.told.drops == 1)
        file.fixture.filesystem.close(file.handle)
        #expect(file.told.drops == 2)
        #expect(file.fixture.filesystem.pollers.isEmpty)
        file.restore()
        await file.learn()
        #expect(file.told.notices == 0)
        #expect(file.poll() == .failed)
        #expect(file.told.drops == 3)
    }

    @Test("every handle of a file has a poller of its own")
    func handles() async throws {
        let file = try await OpenFile.waiting()
        let other = Told()
        let handle = try await file.fixture.filesystem.open(file.inode, caller: .unknown).handle
        #expect(file.fixture.filesystem.poll(handle, notice: other.notice()) == .waiting)
        file.restore()
        await file.learn()
        #expect((file.told.notices, other.notices) == (1, 1))
    }

    @Test("the end of the mount tells everybody")
    func end() async throws {
        let file = try await OpenFile.waiting()
        file.fixture.filesystem.endPolling()
        #expect(file.told.notices == 1)
        #expect(file.poll() == .failed)
    }

    @Test("at the end of the mount a file that is readable stays ready")
    func endOfHot() async throws {
        let file = try await OpenFile(class: "Standard")
        file.fixture.filesystem.endPolling()
        #expect(file.poll() == .ready)
    }
}

extension Filesystem {
    /// Makes the next listing the only thing that is known.
    func forgetEverything() { inodes.withLock { for number in $0.keys { $0[number]?.checkedAt = .epoch } } }
}
