import Database
import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

private let now = Timestamp(seconds: 1_800_000_000)

private func upload(_ key: String, staging: String = "1") -> PendingUpload {
    PendingUpload(
        key: ObjectKey(key), staging: staging, sizeBytes: 7, extents: [0..<7], attributes: FileAttributes(),
        acceptedAt: now)
}

extension Fixture {
    /// The store as another process finds it when this one ends here: what was committed and nothing else.
    fileprivate func afterCrash() throws -> Fixture {
        try Fixture(in: directory.copy(of: ["metadata.sqlite", "metadata.sqlite-wal"]))
    }
}

@Suite("the journal of writing: uploads")
struct UploadJournalTests {
    @Test("what was accepted is there after a crash, with all that belongs to it", arguments: [
        .always, .isAbsent, .matches(etag: "\"old\""),
    ] as [WriteCondition])
    func accepted(condition: WriteCondition) async throws {
        let fixture = try Fixture()
        var full = PendingUpload(
            key: ObjectKey([0x61, 0x2F, 0xFF]), staging: "staged-17", sizeBytes: UInt64(Int64.max),
            base: PendingUpload.Base(
                key: ObjectKey("a/base"), version: "v1", etag: "\"b\"", sizeBytes: 1 << 42, end: 1 << 41),
            extents: [0..<1, 4096..<(1 << 50), UInt64.max - 1..<UInt64.max], attributes: attributesOfATest,
            headers: ObjectHeaders(metadata: ["origin": "ü\n\""], standard: ["content-type": "text/plain"]),
            storageClass: StorageClass("IA"), condition: condition, acceptedAt: now)
        full.failure = PendingUpload.Failure(text: "AccessDenied", at: now + .seconds(1))
        full.id = try await fixture.writer.journal(full)
        var bare = upload("bare")
        bare.id = try await fixture.writer.journal(bare)
        #expect(try await fixture.reader.pendingUploads() == [full, bare])
        let after = try fixture.afterCrash()
        #expect(try await after.reader.pendingUploads() == [full, bare])
    }

    @Test("newer content of a file replaces what was accepted before, and the end of the older one does not end it")
    func replaced() async throws {
        let fixture = try Fixture()
        let first = try await fixture.writer.journal(upload("a", staging: "1"))
        var newer = upload("a", staging: "2")
        newer.id = try await fixture.writer.journal(newer)
        #expect(newer.id > first)
        let row = MetadataRow(segment: Array("a".utf8), kind: object(), checkedAt: now)
        #expect(try await fixture.writer.finishUpload(first, row, below: .empty) == false)
        #expect(try await fixture.row("a")?.kind == object())
        #expect(try await fixture.writer.dropUpload(first) == false)
        #expect(try await fixture.reader.pendingUploads() == [newer])
    }

    @Test("finished, it is gone and the object is known, both or neither")
    func finished() async throws {
        let fixture = try Fixture()
        let id = try await fixture.writer.journal(upload("d/a"))
        let row = MetadataRow(segment: Array("a".utf8), kind: object(attributes: attributesOfATest), checkedAt: now)
        #expect(try await fixture.writer.finishUpload(id, row, below: ObjectKey("d/")))
        let after = try fixture.afterCrash()
        #expect(try await after.reader.pendingUploads().isEmpty)
        #expect(try await after.row("a", below: ObjectKey("d/"))?.kind == row.kind)
    }

    @Test("what was given up stays, however often its key is written, given up or renamed to afterwards")
    func kept() async throws {
        let fixture = try Fixture()
        try await fixture.writer.journal(upload("a", staging: "1"))
        for staging in ["1", "2"] {
            var kept = upload("a", staging: staging)
            kept.acceptedAt = .epoch
            try await fixture.writer.journal(kept)
        }
        let newer = try await fixture.writer.journal(upload("a", staging: "3"))
        let other = try await fixture.writer.journal(upload("b", staging: "4"))
        #expect(try await fixture.writer.renameUpload(other, to: ObjectKey("a"), .isAbsent))
        #expect(try await fixture.reader.pendingUploads().map(\.staging) == ["1", "2", "4"])
        #expect(try await fixture.writer.dropUpload(newer) == false)
        #expect(try await fixture.writer.dropUpload(other))
        #expect(try await fixture.reader.pendingUploads().map(\.staging) == ["1", "2"])
    }

    @Test("a store that was begun anew may miss uploads, until somebody has looked")
    func missed() async throws {
        let fixture = try Fixture()
        #expect(fixture.writer.left.mayMissUploads)
        let after = try fixture.afterCrash()
        #expect(after.writer.left.mayMissUploads)
        try await after.writer.finishMissedUploads()
        #expect(try after.afterCrash().writer.left.mayMissUploads == false)
    }

    @Test("ids are never used again")
    func ids() async throws {
        let fixture = try Fixture()
        let first = try await fixture.writer.journal(upload("a"))
        #expect(try await fixture.writer.dropUpload(first))
        #expect(try await fixture.writer.journal(upload("a")) > first)
    }

    @Test("a failure is noted, and goes with the next content")
    func failed() async throws {
        let fixture = try Fixture()
        let id = try await fixture.writer.journal(upload("a"))
        let failure = PendingUpload.Failure(text: "NoSuchBucket", at: now)
        try await fixture.writer.failUpload(id, failure)
        #expect(try await fixture.reader.pendingUploads().map(\.failure) == [failure])
        try await fixture.writer.journal(upload("a"))
        #expect(try await fixture.reader.pendingUploads().map(\.failure) == [nil])
    }

    @Test("renamed, it keeps its id and replaces what was accepted under the other key")
    func renamed() async throws {
        let fixture = try Fixture()
        var kept = upload("a", staging: "1")
        kept.id = try await fixture.writer.journal(kept)
        let lost = try await fixture.writer.journal(upload("b", staging: "2"))
        #expect(try await fixture.writer.renameUpload(kept.id, to: ObjectKey("b"), .matches(etag: "e")))
        (kept.key, kept.condition) = (ObjectKey("b"), .matches(etag: "e"))
        let after = try fixture.afterCrash()
        #expect(try await after.reader.pendingUploads() == [kept])
        #expect(try await fixture.writer.renameUpload(lost, to: ObjectKey("c"), .always) == false)
    }
}

@Suite("the journal of writing: what else is promised")
struct JournalTests {
    @Test("uploads in parts are known from their beginning to their end")
    func multiparts() async throws {
        let fixture = try Fixture()
        let all = [("a", "1"), ("a", "2"), ("b", "1")].map { MultipartUpload(key: ObjectKey($0), id: $1) }
        for upload in all + all { try await fixture.writer.note(upload) }
        let after = try fixture.afterCrash()
        #expect(try await after.reader.multiparts() == all)
        #expect(after.writer.left.multiparts == all && fixture.writer.left.multiparts.isEmpty)
        try await fixture.writer.drop(all[1])
        #expect(try await fixture.reader.multiparts() == [all[0], all[2]])
    }

    @Test("copies of deleted objects are known until they are deleted")
    func hidden() async throws {
        let fixture = try Fixture()
        for key in ["d/.fuse_hidden1", ".fuse_hidden2", ".fuse_hidden2"] {
            try await fixture.writer.addHidden(ObjectKey(key))
        }
        let after = try fixture.afterCrash()
        #expect(try await after.reader.hiddenKeys() == [ObjectKey(".fuse_hidden2"), ObjectKey("d/.fuse_hidden1")])
        #expect(after.writer.left.hiddenKeys.count == 2 && fixture.writer.left.hiddenKeys.isEmpty)
        try await fixture.writer.dropHidden(ObjectKey(".fuse_hidden2"))
        #expect(try await fixture.reader.hiddenKeys() == [ObjectKey("d/.fuse_hidden1")])
    }

    @Test("renames are found after a crash where they were", arguments: [
        RenameRow.Stage.copying, .deleting, .undoing,
    ])
    func renames(stage: RenameRow.Stage) async throws {
        let fixture = try Fixture()
        var row = try await fixture.writer.beginRename(ObjectKey("a/"), to: ObjectKey("b/"), replacesMarker: true)
        let other = try await fixture.writer.beginRename(ObjectKey("x/"), to: ObjectKey("y/"), replacesMarker: false)
        if stage != .copying { try await fixture.writer.advanceRename(row.id, to: stage) }
        row.stage = stage
        let after = try fixture.afterCrash()
        #expect(try await after.reader.renames() == [row, other])
        #expect(after.writer.left.renames == [row, other] && fixture.writer.left.renames.isEmpty)
        try await fixture.writer.finishRename(row.id)
        let end = try fixture.afterCrash()
        #expect(try await end.reader.renames() == [other])
    }

    @Test("attributes of a frozen object stay until they are written; those set meanwhile stay then")
    func deferred() async throws {
        let fixture = try Fixture()
        let key = ObjectKey("cold")
        let first = DeferredAttributes(key: key, etag: "\"e\"", attributes: attributesOfATest)
        var second = first
        second.attributes.uid = nil
        try await fixture.writer.defer(first)
        let after = try fixture.afterCrash()
        #expect(try await after.reader.deferredAttributes(of: key) == first)
        try await fixture.writer.defer(second)
        #expect(try await fixture.writer.finishDeferred(first) == false)
        #expect(try await fixture.reader.deferredAttributes() == [second])
        #expect(try await fixture.writer.finishDeferred(second))
        #expect(try await fixture.reader.deferredAttributes(of: key) == nil)
    }

    @Test("all of it is carried over from a damaged file")
    func salvaged() async throws {
        let directory = try TemporaryDirectory()
        let deferred = DeferredAttributes(key: ObjectKey("cold"), etag: "\"e\"", attributes: attributesOfATest)
        let multipart = MultipartUpload(key: ObjectKey("big"), id: "7")
        var pending = upload("a")
        do {
            let fixture = try Fixture(in: directory)
            try await fixture.writer.dropUpload(try await fixture.writer.journal(upload("gone")))
            pending.id = try await fixture.writer.journal(pending)
            try await fixture.writer.note(multipart)
            try await fixture.writer.addHidden(ObjectKey(".fuse_hidden1"))
            _ = try await fixture.writer.beginRename(ObjectKey("a/"), to: ObjectKey("b/"), replacesMarker: false)
            try await fixture.writer.defer(deferred)
            try await fixture.record((0..<500).map { "name-\($0)" }, at: 100, listing: 0)
        }
        try damage(directory.path + "/metadata.sqlite", table: "entry")
        let fixture = try Fixture(in: directory)
        _ = await #expect(throws: MetadataError.self) { try await fixture.record(["x"], at: 101, listing: 0) }
        #expect(try await fixture.reader.pendingUploads() == [pending])
        #expect(try await fixture.reader.multiparts() == [multipart])
        #expect(try await fixture.reader.hiddenKeys() == [ObjectKey(".fuse_hidden1")])
        #expect(try await fixture.reader.renames().map(\.target) == [ObjectKey("b/")])
        #expect(try await fixture.reader.deferredAttributes() == [deferred])
        // Ids go on where they were.
        #expect(try await fixture.writer.journal(upload("b")) == pending.id + 1)
    }
}
