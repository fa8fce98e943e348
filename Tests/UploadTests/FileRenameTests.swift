import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Upload

@Suite("renames of files after a crash")
struct FileRenameTests {
    private static let old = ObjectKey("d/old")
    private static let new = ObjectKey("new")
    private let fixture: TreeFixture

    init() async throws {
        fixture = try TreeFixture()
        fixture.store.put(Self.old, [1, 2, 3], metadata: ["mode": "33188"])
        _ = try await fixture.trees.beginFile(Self.old, to: Self.new)
    }

    private func resume() async throws -> TreeFixture {
        let next = try fixture.afterCrash()
        await next.trees.resumeFiles()
        return next
    }

    @Test("one that was not copied is copied and deleted")
    func uncopied() async throws {
        let next = try await resume()
        #expect(fixture.store.keys == [Self.new] && fixture.store.content(Self.new) == [1, 2, 3])
        #expect(try await next.reader.renames().isEmpty)
    }

    @Test("one that was copied is deleted")
    func copied() async throws {
        fixture.store.put(Self.new, [1, 2, 3], metadata: ["mode": "33188"])
        _ = try await resume()
        #expect(fixture.store.keys == [Self.new])
        #expect(!fixture.store.calls.contains { if case .copy = $0 { true } else { false } })
    }

    @Test("one that was deleted is done")
    func deleted() async throws {
        try await fixture.store.delete(Self.old, version: nil, condition: .always)
        fixture.store.put(Self.new, [1, 2, 3])
        let next = try await resume()
        #expect(fixture.store.keys == [Self.new])
        #expect(try await next.reader.renames().isEmpty)
    }

    @Test("what it was to replace, or somebody else's, is left, and so is the file", arguments: [[9], [1, 2, 3]])
    func others(content: [UInt8]) async throws {
        // Content alone makes no copy: mode and owner may not be the same.
        fixture.store.put(Self.new, content, metadata: ["mode": "33152"])
        let next = try await resume()
        #expect(Set(fixture.store.keys) == [Self.old, Self.new])
        #expect(fixture.store.content(Self.new) == content)
        #expect(try await next.reader.renames().isEmpty)
    }

    @Test("a store that does not answer leaves it to the next mount")
    func unreachable() async throws {
        fixture.store.script { call throws(StoreError) in
            if case .copy = call { throw StoreError(.unavailable, code: "SlowDown", message: "") }
        }
        let next = try await resume()
        #expect(try await next.reader.renames().map(\.source) == [Self.old])
        fixture.store.script { _ in }
        let third = try next.afterCrash()
        await third.trees.resumeFiles()
        #expect(fixture.store.keys == [Self.new])
    }
}
