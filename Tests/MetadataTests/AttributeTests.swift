import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

@Suite("attributes of files in the metadata store")
struct AttributeTests {
    /// What is known of `x` after `second` was learned, when `first` was before.
    private func known(
        after second: MetadataRow.Kind, at seconds: Int64 = 101, first: MetadataRow.Kind
    ) async throws -> FileAttributes? {
        let fixture = try Fixture()
        try await fixture.record(["x"], first, at: 100, listing: 0)
        try await fixture.record(["x"], second, at: seconds, listing: 1)
        switch try await fixture.row("x")?.kind {
        case .object(let record): return record.attributes
        case .directory(let attributes): return attributes
        case .absent, nil: return nil
        }
    }

    private let told = object(attributes: attributesOfATest)

    @Test("a listing keeps what a HEAD told, as long as ETag and date stay", arguments: [0, 7, 9] as [Int64])
    func kept(modified: Int64) async throws {
        let listed = object(modified: Timestamp(seconds: modified))
        #expect(try await known(after: listed, first: told) == attributesOfATest)
        #expect(try await known(after: .directory(nil), first: .directory(attributesOfATest)) == attributesOfATest)
    }

    @Test("the date of the newer listing is the one that counts from then on")
    func date() async throws {
        let fixture = try Fixture()
        try await fixture.record(["x"], told, at: 100, listing: 0)
        try await fixture.record(["x"], object(modified: Timestamp(seconds: 8)), at: 101, listing: 1)
        guard case .object(let record) = try await fixture.row("x")?.kind else {
            Issue.record("no object")
            return
        }
        #expect(record.modified == Timestamp(seconds: 8) && record.attributes == attributesOfATest)
    }

    @Test("they go with the object: another ETag, a date more than two seconds later, another kind")
    func dropped() async throws {
        #expect(try await known(after: object(etag: "\"other\""), first: told) == nil)
        #expect(try await known(after: object(modified: Timestamp(seconds: 10)), first: told) == nil)
        #expect(try await known(after: .directory(nil), first: told) == nil)
        #expect(try await known(after: object(), first: .directory(attributesOfATest)) == nil)
        #expect(try await known(after: .absent, first: told) == nil)
    }

    @Test("a HEAD that finds none stored replaces those that were known")
    func replaced() async throws {
        #expect(try await known(after: object(attributes: FileAttributes()), first: told) == FileAttributes())
        let other = FileAttributes(mode: 0o100600, extended: ["user.other": [1]])
        #expect(try await known(after: object(attributes: other), first: told) == other)
    }

    @Test("an absent name that comes back has none until they are asked for")
    func back() async throws {
        let fixture = try Fixture()
        try await fixture.record(["x"], told, at: 100, listing: 0)
        try await fixture.record(["x"], .absent, at: 101, listing: 0)
        try await fixture.record(["x"], object(), at: 102, listing: 0)
        #expect(try await fixture.row("x")?.kind == object())
    }

    @Test("a listing that was asked before they were learned does not touch them")
    func late() async throws {
        #expect(try await known(after: object(etag: "\"old\""), at: 99, first: told) == attributesOfATest)
    }
}
