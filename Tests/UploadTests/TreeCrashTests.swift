import Metadata
import ObjectStore
import Synchronization
import Testing
import ThawCore
import ThawTesting
import Upload
import Wire

private let count = 4

@Suite("renames of directories that end with the process")
struct TreeCrashTests {
    /// A store whose every request and reply is a moment: a crash may come then, and each object must be in a place.
    private final class Scene: Sendable {
        let first: TreeFixture
        let lost = Mutex<Set<String>>([])
        private let remains = Mutex<[(crash: Crash, task: Task<Void, Never>)]>([])

        init(refusing isRefused: @escaping @Sendable (FakeStore.Call) -> Bool = { _ in false }) throws {
            first = try TreeFixture()
            first.put(count)
            first.store.paginate(by: 2)
            first.store.script { [unowned self] call throws(StoreError) in
                look()
                try await Crash.ofThisProcess?.pass()
                if isRefused(call) { throw .refused }
            }
            first.store.scriptReplies { [unowned self] _ throws(StoreError) in
                look()
                try await Crash.ofThisProcess?.pass()
            }
        }

        private func look() {
            let missing = first.lost(count)
            lost.withLock { $0.formUnion(missing) }
        }

        /// Runs `body` as a process that ends after so many moments. Answers the next mount, or nil when `body` ended
        /// first.
        func crash(
            _ fixture: TreeFixture, after moments: Int, _ body: @escaping @Sendable (TreeFixture) async -> Void
        ) async throws -> TreeFixture? {
            let crash = Crash(after: moments)
            let ended = Counter()
            let task = Task {
                await Crash.$ofThisProcess.withValue(crash) { await body(fixture) }
                ended.add()
            }
            remains.withLock { $0.append((crash, task)) }
            #expect(await eventually { crash.hasHappened || ended.value > 0 })
            return crash.hasHappened ? try fixture.afterCrash() : nil
        }

        /// All is in one of the two places, nothing in the other, and nothing is left to be done.
        func check(_ last: TreeFixture, _ moments: String) async throws {
            let isMoved = last.isWhole(count, below: target) && last.isEmpty(source)
            let isBack = last.isWhole(count, below: source) && last.isEmpty(target)
            #expect(isMoved || isBack, "\(moments): \(last.store.keys)")
            #expect(lost.withLock { $0 }.isEmpty, "\(moments)")
            #expect(try await last.reader.renames().isEmpty, "\(moments)")
        }

        func end() async {
            for (crash, task) in remains.withLock({ $0 }) {
                crash.bury()
                await task.value
            }
        }
    }

    @Test("whatever the moment, every object is in one place, and the next mount finishes it")
    func renamed() async throws {
        for moments in 0... {
            let scene = try Scene()
            guard let next = try await scene.crash(scene.first, after: moments, { _ = await $0.renameError() }) else {
                return try await scene.check(scene.first, "\(moments)")
            }
            let hasBegun = try await !next.reader.renames().isEmpty
            await next.trees.resume()
            try await scene.check(next, "\(moments)")
            #expect(next.isWhole(count, below: hasBegun ? target : source))
            await scene.end()
        }
    }

    @Test("also when it is being taken back, because a copy failed")
    func undone() async throws {
        for moments in 0... {
            let scene = try Scene { call in
                if case .copy(let from, _) = call { from.key == ObjectKey("src/10003") } else { false }
            }
            guard let next = try await scene.crash(scene.first, after: moments, { _ = await $0.renameError() }) else {
                return try await scene.check(scene.first, "\(moments)")
            }
            await next.trees.resume()
            try await scene.check(next, "\(moments)")
            #expect(next.isWhole(count, below: source))
            await scene.end()
        }
    }

    @Test("what came to the target meanwhile is not taken back with the copies, whatever its name and size")
    func undoneBeside() async throws {
        let fixture = try TreeFixture()
        for key in ["src/changed", "src/copied", "src/metadata", "dst/copied"] {
            fixture.store.put(ObjectKey(key), [1])
        }
        fixture.store.put("dst/changed", [2])
        fixture.store.put(ObjectKey("dst/metadata"), [1], metadata: ["mode": "33188"])
        let row = try await fixture.writer.beginRename(source, to: target, replacesMarker: false)
        try await fixture.writer.advanceRename(row.id, to: .undoing)
        let next = try fixture.afterCrash()
        await next.trees.resume()
        #expect(next.names(below: target) == ["changed", "metadata"])
        #expect(next.names(below: source) == ["changed", "copied", "metadata"])
        #expect(try await next.reader.renames().isEmpty)
    }

    @Test("a copy in parts that is cut short is known to the next mount, and one that ends leaves nothing to be aborted")
    func parts() async throws {
        let fixture = try TreeFixture(wholeBytesMax: 8)
        fixture.put(2)
        let (crash, ended) = (Crash(after: 0), Counter())
        fixture.store.script { call throws(StoreError) in
            if case .copyPart = call { try await Crash.ofThisProcess?.pass() }
        }
        let task = Task {
            await Crash.$ofThisProcess.withValue(crash) { _ = await fixture.renameError() }
            ended.add()
        }
        #expect(await eventually { crash.hasHappened || ended.value > 0 })
        let next = try fixture.afterCrash()
        #expect(next.writer.left.multiparts.map(\.key) == fixture.store.openUploads)
        #expect(fixture.store.openUploads == [ObjectKey("dst/10001")])
        crash.bury()
        await task.value
        #expect(try await fixture.reader.multiparts().isEmpty)
        await next.trees.resume()
        #expect(next.isWhole(2, below: target))
        #expect(try await next.reader.multiparts().map(\.key) == [ObjectKey("dst/10001")])
        #expect(fixture.store.openUploads.isEmpty)
    }

    @Test("also when the next mount ends at any moment of going on with it", arguments: [4, 7, 10, 13])
    func twice(first: Int) async throws {
        for second in 0... {
            let scene = try Scene()
            let next = try #require(
                try await scene.crash(scene.first, after: first, { _ = await $0.renameError() }))
            guard let last = try await scene.crash(next, after: second, { await $0.trees.resume() }) else {
                try await scene.check(next, "\(first), \(second)")
                return await scene.end()
            }
            await last.trees.resume()
            try await scene.check(last, "\(first), \(second)")
            await scene.end()
        }
    }
}
