import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Upload

private let old = ObjectKey("f")
private let new = ObjectKey("g")

@Suite("renames of single objects")
struct ObjectRenameTests {
    /// With neighbours whose keys begin alike.
    private func fixture(replaced: [UInt8]?) throws -> TreeFixture {
        let fixture = try TreeFixture()
        for key in ["f2", "f/x", "g2"] { fixture.store.put(ObjectKey(key), [0]) }
        fixture.store.put(old, [1])
        if let replaced { fixture.store.put(new, replaced) }
        return fixture
    }

    private func rename(_ fixture: TreeFixture, replaces: Bool) async throws {
        let source = CopySource(key: old, etag: fixture.store.record(old)?.etag, record: fixture.store.record(old))
        try await fixture.trees.finishRename(
            try await fixture.trees.beginRename(of: source, to: new, replaces: replaces).row)
    }

    private func check(_ fixture: TreeFixture, _ comment: Comment) async throws {
        #expect(fixture.store.content(old) == nil && fixture.store.content(new) == [1], comment)
        #expect(fixture.store.keys.count == 4, comment)
        #expect(try await fixture.reader.renames().isEmpty, comment)
    }

    @Test("one copy and one delete, and nothing is left in the journal", arguments: [nil, [2]])
    func renamed(replaced: [UInt8]?) async throws {
        let fixture = try fixture(replaced: replaced)
        try await rename(fixture, replaces: replaced != nil)
        try await check(fixture, "renamed")
        #expect(fixture.store.calls.count == 2)
    }

    @Test("whatever the moment of a crash, the next mount finishes what has begun", arguments: [nil, [2]])
    func crashed(replaced: [UInt8]?) async throws {
        for moments in 0..<4 {
            let fixture = try fixture(replaced: replaced)
            fixture.store.script { _ throws(StoreError) in try await Crash.ofThisProcess?.pass() }
            fixture.store.scriptReplies { _ throws(StoreError) in try await Crash.ofThisProcess?.pass() }
            let crash = Crash(after: moments)
            let process = Task {
                try await Crash.$ofThisProcess.withValue(crash) {
                    try await rename(fixture, replaces: replaced != nil)
                }
            }
            #expect(await eventually { crash.hasHappened })
            let next = try fixture.afterCrash()
            await next.trees.resume()
            #expect(try await next.reader.renames().count == 1)
            await next.trees.resumeObjects()
            try await check(next, "\(moments)")
            crash.bury()
            _ = await process.result
        }
    }

    @Test("a refused one changes nothing and leaves nothing to be done")
    func refused() async throws {
        let fixture = try fixture(replaced: nil)
        fixture.store.script { call throws(StoreError) in if case .copy = call { throw .refused } }
        await #expect(throws: TreeCopyError.self) { try await rename(fixture, replaces: false) }
        #expect(fixture.store.content(old) == [1] && fixture.store.content(new) == nil)
        #expect(try await fixture.reader.renames().isEmpty)
    }

    @Test("a copy that failed though it was made is taken back, unless it replaced something", arguments: [nil, [2]])
    func doubtful(replaced: [UInt8]?) async throws {
        let fixture = try fixture(replaced: replaced)
        fixture.store.scriptReplies { call throws(StoreError) in
            if case .copy = call { throw StoreError(.timeout, code: "Timeout", message: "") }
        }
        await #expect(throws: TreeCopyError.self) { try await rename(fixture, replaces: replaced != nil) }
        #expect(fixture.store.content(old) == [1])
        #expect((fixture.store.content(new) == nil) == (replaced == nil))
        #expect(fixture.store.keys.count == (replaced == nil ? 4 : 5))
        #expect(try await fixture.reader.renames().isEmpty)
    }

    @Test("when the source cannot be deleted, that is told, and the next mount goes on")
    func undeletable() async throws {
        let fixture = try fixture(replaced: nil)
        fixture.store.script { call throws(StoreError) in if case .delete = call { throw .refused } }
        await #expect(throws: TreeCopyError.self) { try await rename(fixture, replaces: false) }
        fixture.store.script { _ in }
        let next = try fixture.afterCrash()
        await next.trees.resumeObjects()
        try await check(next, "the next mount")
    }
}
