import Metadata
import ObjectStore
import Synchronization
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Upload

@Suite("files with changes of ours")
struct StagedFileTests {
    @Test("read and store what was written, whatever is written, cut, cleared, flushed and evicted", arguments: 0..<60)
    func model(seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        // Little room makes it flush in between.
        let fixture = try StagedFixture(seed % 2 == 0 ? .s3 : .oss, areaBytesMax: seed % 3 == 0 ? 400 : 1 << 20)
        var model: [UInt8] = []
        if seed % 4 > 1 {
            model = bytes(Int.random(in: 0..<900, using: &generator))
            fixture.store.put(StagedFixture.key, model)
        }
        let file = try fixture.change()
        for step in 0..<60 {
            let offset = Int.random(in: 0...min(model.count + 40, 900), using: &generator)
            let count = Int.random(in: 1...200, using: &generator)
            switch Int.random(in: 0..<10, using: &generator) {
            case 0...3:
                let at = Bool.random(using: &generator) ? model.count : offset
                let written = bytes(count, from: step)
                try await file.write(written, at: UInt64(at))
                if model.count < at { model += Array(repeating: 0, count: at - model.count) }
                model.replaceSubrange(at..<min(at + count, model.count), with: written)
            case 4:
                try await file.truncate(to: UInt64(offset))
                model = Array(model.prefix(offset)) + Array(repeating: 0, count: max(0, offset - model.count))
            case 5:
                try await file.punch(UInt64(offset)..<UInt64(offset + count))
                for index in offset..<max(offset, min(offset + count, model.count)) { model[index] = 0 }
            case 6: _ = file.evict()
            case 7:
                try await file.flush()
                #expect(fixture.stored == model)
            default:
                let read = try await file.bytes(UInt64(offset)..<UInt64(offset + count))
                #expect(read == Array(model.dropFirst(offset).prefix(count)))
            }
            #expect(file.sizeBytes == UInt64(model.count))
        }
        try await file.flush()
        #expect(fixture.stored ?? [] == model)
        #expect(fixture.store.headers(StagedFixture.key)?.metadata["mode"] == "33188" || !file.isDirty)
        file.close()
        #expect(fixture.area.usedBytes == 0)
        #expect(fixture.store.openUploads.isEmpty)
    }

    @Test("a small file costs one request")
    func small() async throws {
        let fixture = try StagedFixture()
        let file = try fixture.make()
        try await file.write(bytes(100), at: 0)
        try await file.flush()
        try await file.flush()
        #expect(fixture.stored == bytes(100))
        #expect(fixture.store.calls.count == 1)
        #expect(!file.isDirty)
    }

    @Test("parts of a file that grows are sent before anybody waits for it")
    func ahead() async throws {
        let fixture = try StagedFixture()
        let file = try fixture.make()
        for step in 0..<10 { try await file.write(bytes(64, from: step), at: UInt64(step * 64)) }
        #expect(await eventually { fixture.store.calls.count { if case .uploadPart = $0 { true } else { false } } >= 9 })
        #expect(fixture.stored == nil)
        try await file.flush()
        #expect(fixture.stored == (0..<10).flatMap { bytes(64, from: $0) })
    }

    @Test("who waits for what is being sent waits for no part that is sent after that", arguments: [false, true])
    func starved(isCut: Bool) async throws {
        let fixture = try StagedFixture()
        let (first, others) = (Gate(), Gate())
        fixture.store.script { call in
            if case .uploadPart(let number) = call { await (number == 1 ? first : others).pass() }
        }
        func sent() -> [Int] {
            fixture.store.calls.compactMap { if case .uploadPart(let number) = $0 { number } else { nil } }.sorted()
        }
        let file = try fixture.make()
        try await file.write(bytes(20 * 64), at: 0)
        #expect(await eventually { first.waiting == 1 && others.waiting == 7 })
        let waiting = Task { isCut ? try await file.truncate(to: 0) : try await file.hold() }
        #expect(await eventually { file.state.withLock { !$0.waiters.isEmpty } })
        first.open()
        #expect(await eventually { file.state.withLock { $0.multipart?.sending.count == 7 } })
        others.open()
        try await waiting.value
        #expect(sent() == Array(1...8))
        guard !isCut else { return }
        file.release()
        #expect(await eventually { sent() == Array(1...20) })
        try await file.flush()
        #expect(fixture.stored == bytes(20 * 64))
    }

    @Test("a change of a large object sends what was changed, and the store copies the rest")
    func change() async throws {
        let fixture = try StagedFixture()
        fixture.store.put(StagedFixture.key, bytes(640))
        let file = try fixture.change()
        try await file.write([1, 2, 3], at: 130)
        try await file.flush()
        var expected = bytes(640)
        expected.replaceSubrange(130..<133, with: [1, 2, 3])
        #expect(fixture.stored == expected)
        let sent = fixture.store.calls.count { if case .uploadPart = $0 { true } else { false } }
        #expect(sent == 1)
        // For the rest of the part that was changed.
        #expect(fixture.store.gets.count == 1)
    }

    @Test("what somebody else stored since the file was opened is not overwritten, and nothing is lost")
    func conflict() async throws {
        let fixture = try StagedFixture()
        fixture.store.put(StagedFixture.key, bytes(100))
        let file = try fixture.change()
        try await file.write([9], at: 0)
        fixture.store.put(StagedFixture.key, bytes(50, from: 3))
        await #expect(throws: UploadError.self) { try await file.flush() }
        #expect(fixture.stored == bytes(50, from: 3))
        #expect(file.isDirty)
    }

    @Test("a new file does not replace one that came meanwhile")
    func created() async throws {
        let fixture = try StagedFixture()
        fixture.store.setTime(Timestamp.now() + .seconds(10))
        let file = try fixture.make()
        try await file.write([9], at: 0)
        fixture.store.put(StagedFixture.key, bytes(50))
        await #expect(throws: UploadError.self) { try await file.flush() }
        #expect(fixture.stored == bytes(50))
    }

    @Test("a failed flush leaves everything to the next")
    func failure() async throws {
        let fixture = try StagedFixture()
        let file = try fixture.make()
        try await file.write(bytes(500), at: 0)
        fixture.store.script { call throws(StoreError) in
            if case .completeUpload = call { throw StoreError(.denied, code: "AccessDenied", message: "") }
        }
        await #expect(throws: UploadError.store(StoreError(.denied, code: "AccessDenied", message: ""))) {
            try await file.flush()
        }
        #expect(try await file.bytes(0..<500) == bytes(500))
        fixture.store.script { _ in }
        try await file.flush()
        #expect(fixture.stored == bytes(500))
    }

    @Test("what grows after an upload that was not completed, and made room, keeps all of its bytes")
    func grownAfterFailure() async throws {
        let fixture = try StagedFixture()
        let file = try fixture.make()
        try await file.write(bytes(500), at: 0)
        fixture.store.script { call throws(StoreError) in
            if case .completeUpload = call { throw StoreError(.denied, code: "AccessDenied", message: "") }
        }
        await #expect(throws: UploadError.self) { try await file.flush() }
        #expect(file.evict() > 0)
        fixture.store.script { _ in }
        try await file.write([1, 2, 3], at: 500)
        try await file.flush()
        #expect(fixture.stored == bytes(500) + [1, 2, 3])
    }

    @Test("what is kept for recovery leaves no upload open")
    func parked() async throws {
        let fixture = try StagedFixture()
        let file = try fixture.make()
        try await file.write(bytes(300), at: 0)
        fixture.store.script { call throws(StoreError) in
            if case .completeUpload = call { throw StoreError(.denied, code: "AccessDenied", message: "") }
        }
        await #expect(throws: UploadError.self) { try await file.flush() }
        #expect(fixture.store.openUploads.count == 1)
        _ = try await file.park()
        #expect(fixture.store.openUploads.isEmpty)
        #expect(try await fixture.reader.pendingUploads().map(\.sizeBytes) == [300])
    }

    @Test("a write that has no room fails, and what was written stays")
    func room() async throws {
        let fixture = try StagedFixture(areaBytesMax: 100)
        let file = try fixture.make()
        try await file.write(bytes(100), at: 0)
        fixture.store.script { _ throws(StoreError) in throw StoreError(.denied, code: "AccessDenied", message: "") }
        await #expect(throws: UploadError.self) { try await file.write(bytes(10), at: 100) }
        fixture.store.script { _ in }
        try await file.flush()
        #expect(fixture.stored == bytes(100))
    }

    @Test("what is removed makes no room: whoever has it open reads it from here")
    func removedIsKept() async throws {
        let fixture = try StagedFixture(areaBytesMax: 100)
        let file = try fixture.make()
        try await file.write(bytes(60), at: 0)
        try await file.flush()
        try await file.hold()
        #expect(file.evict() == 0)
        fixture.store.remove(StagedFixture.key)
        await file.discard()
        let other = try fixture.make()
        await #expect(throws: UploadError.noSpace) { try await other.write(bytes(60, from: 1), at: 0) }
        #expect(try await file.bytes(0..<60) == bytes(60))
    }

    @Test("what is in parts of an upload stays here too while its file is being removed")
    func heldIsKept() async throws {
        let fixture = try StagedFixture()
        let file = try fixture.make()
        try await file.write(bytes(640), at: 0)
        #expect(await eventually { file.state.withLock { $0.multipart?.parts.count } == 10 })
        try await file.hold()
        #expect(file.evict() == 0)
        await file.discard()
        #expect(try await file.bytes(0..<640) == bytes(640))
    }

    @Test("a file that is cut and grows while its attributes are stored has zeros where it was cut")
    func cutMeanwhile() async throws {
        let fixture = try StagedFixture()
        fixture.store.put(StagedFixture.key, bytes(100))
        let gate = Gate()
        fixture.store.script { call in if case .copy = call { await gate.pass() } }
        let file = try fixture.change()
        file.setAttributes { $0.mode = 0o100600 }
        let flush = Task { try await file.flush() }
        #expect(await eventually { gate.waiting > 0 })
        try await file.truncate(to: 0)
        try await file.write([9], at: 50)
        gate.open()
        try await flush.value
        let expected = [UInt8](repeating: 0, count: 50) + [9]
        #expect(try await file.bytes(0..<51) == expected)
        try await file.flush()
        #expect(fixture.stored == expected)
    }

    @Test("attributes of what is frozen as soon as it is stored are kept for it", arguments: [false, true])
    func frozenAtOnce(isParted: Bool) async throws {
        var fixture = try StagedFixture()
        let kept = Mutex<[DeferredAttributes]>([])
        fixture.context.storageClass = StorageClass("GLACIER")
        fixture.context.sendsAhead = false
        fixture.context.postpone = { key, record, attributes in
            kept.withLock { $0.append(DeferredAttributes(key: key, etag: record.etag, attributes: attributes)) }
        }
        let file = try fixture.make()
        try await file.write(bytes(isParted ? 300 : 100), at: 0)
        if isParted {
            // The upload is begun with other attributes than it ends with.
            fixture.store.script { call throws(StoreError) in
                if case .completeUpload = call { throw StoreError(.denied, code: "AccessDenied", message: "") }
            }
            await #expect(throws: UploadError.self) { try await file.flush() }
            fixture.store.script { _ in }
        } else {
            try await file.flush()
        }
        file.setAttributes { $0.mode = 0o100600 }
        try await file.flush()
        #expect(!file.isDirty)
        #expect(fixture.stored == bytes(isParted ? 300 : 100))
        let expected = DeferredAttributes(
            key: StagedFixture.key, etag: fixture.store.record(StagedFixture.key)?.etag ?? "",
            attributes: file.attributes)
        #expect(kept.withLock { $0 } == [expected])
    }

    // MARK: Accepted

    @Test("what was accepted is stored by the next mount, as it was accepted")
    func restored() async throws {
        let fixture = try StagedFixture()
        fixture.store.put(StagedFixture.key, bytes(300))
        let file = try fixture.change()
        try await file.write([1, 2, 3], at: 10)
        fixture.store.script { _ throws(StoreError) in
            throw StoreError(.unavailable, code: "Down", message: "")
        }
        try await file.accept()
        // As if its process had ended: nobody goes on, and the journal stays.
        file.state.withLock { $0.isDiscarded = true }
        let next = try StagedFixture(in: fixture)
        let pending = try #require(try await next.reader.pendingUploads().first)
        fixture.store.script { _ in }
        let restored = try StagedFile.restore(pending, in: next.context)
        var expected = bytes(300)
        expected.replaceSubrange(10..<13, with: [1, 2, 3])
        #expect(try await restored.bytes(0..<300) == expected)
        restored.upload()
        #expect(await eventually { !restored.isAccepted })
        #expect(fixture.stored == expected)
        #expect(try await next.reader.pendingUploads().isEmpty)
    }

    @Test("what was written after it was accepted, and not accepted again, is not stored by the next mount")
    func writtenSince() async throws {
        let fixture = try StagedFixture()
        let file = try fixture.make()
        try await file.write(bytes(10), at: 0)
        try await file.write(bytes(10), at: 90)
        fixture.store.script { _ throws(StoreError) in throw StoreError(.unavailable, code: "Down", message: "") }
        try await file.accept()
        try await file.write(bytes(10), at: 50)
        try await file.write(bytes(10), at: 110)
        file.state.withLock { $0.isDiscarded = true }
        let next = try StagedFixture(in: fixture)
        let pending = try #require(try await next.reader.pendingUploads().first)
        fixture.store.script { _ in }
        let restored = try StagedFile.restore(pending, in: next.context)
        try await restored.truncate(to: 125)
        try await restored.flush()
        var expected = [UInt8](repeating: 0, count: 125)
        expected.replaceSubrange(0..<10, with: bytes(10))
        expected.replaceSubrange(90..<100, with: bytes(10))
        #expect(fixture.stored == expected)
    }

    @Test("what an earlier mount accepted replaces nothing that others have stored since", arguments: [Dialect.oss, .s3])
    func replacedSince(dialect: Dialect) async throws {
        let fixture = try StagedFixture(dialect)
        fixture.store.put(StagedFixture.key, bytes(100))
        let record = try #require(fixture.store.record(StagedFixture.key))
        let file = try StagedFile(
            StagedFixture.key,
            base: StagedFile.Base(key: StagedFixture.key, etag: record.etag, sizeBytes: 100, end: 0), sizeBytes: 0,
            attributes: FileAttributes(), headers: nil, condition: .matches(etag: record.etag), isChanged: true,
            in: fixture.context)
        try await file.write(bytes(30), at: 0)
        fixture.store.script { _ throws(StoreError) in throw StoreError(.unavailable, code: "Down", message: "") }
        try await file.accept()
        file.state.withLock { $0.isDiscarded = true }
        let next = try StagedFixture(in: fixture)
        let pending = try #require(try await next.reader.pendingUploads().first)
        fixture.store.put(StagedFixture.key, bytes(50, from: 3))
        fixture.store.script { _ in }
        let restored = try StagedFile.restore(pending, in: next.context)
        for _ in 0..<2 {
            await #expect(throws: UploadError.self) { try await restored.flush() }
            #expect(restored.hasConflict)
        }
        #expect(fixture.stored == bytes(50, from: 3))
        #expect(!restored.wasSentInVain)
    }

    @Test("a file that is removed while it is accepted is in no journal", arguments: 0..<40)
    func removedMeanwhile(round: Int) async throws {
        let fixture = try StagedFixture()
        let file = try fixture.make()
        try await file.write(bytes(30), at: 0)
        fixture.store.script { _ throws(StoreError) in throw StoreError(.unavailable, code: "Down", message: "") }
        let accepting = Task { try await file.accept() }
        for _ in 0..<round { await Task.yield() }
        try await file.hold()
        await file.discard()
        try await accepting.value
        #expect(try await fixture.reader.pendingUploads().isEmpty)
    }

    @Test("a cut that cannot be, and one of a file that is removed, promise nothing")
    func cutInVain() async throws {
        let fixture = try StagedFixture()
        let file = try fixture.make()
        try await file.write(bytes(30), at: 0)
        // Somebody is at it, between two attempts.
        file.state.withLock { $0.isUploading = true }
        try await file.accept()
        await #expect(throws: UploadError.tooLarge) {
            try await file.truncate(to: fixture.context.layout.bytesMax + 1)
        }
        #expect(try await fixture.reader.pendingUploads().map(\.sizeBytes) == [30])
        try await file.hold()
        await file.discard()
        try await file.truncate(to: 10)
        #expect(try await file.bytes(0..<30) == bytes(10))
        #expect(try await fixture.reader.pendingUploads().isEmpty)
    }

    @Test("what was renamed over an object before it was stored is stored there by the next mount")
    func renamedOver() async throws {
        let fixture = try StagedFixture()
        let target = ObjectKey("target")
        fixture.store.put(target, bytes(50))
        let etag = try #require(fixture.store.record(target)?.etag)
        fixture.store.script { _ throws(StoreError) in
            throw StoreError(.unavailable, code: "Down", message: "")
        }
        let file = try fixture.make()
        try await file.write(bytes(30), at: 0)
        try await file.accept()
        #expect(try await file.beginRename(to: target, over: etag))
        let next = try StagedFixture(in: fixture)
        let pending = try #require(try await next.reader.pendingUploads().first)
        fixture.store.script { _ in }
        try await StagedFile.restore(pending, in: next.context).flush()
        #expect(fixture.store.content(target) == bytes(30) && fixture.stored == nil)
        await file.discard()
    }

    @Test("what is accepted is renamed while the store is in trouble, also when that is being tried")
    func renamedMeanwhile() async throws {
        let fixture = try StagedFixture()
        let file = try fixture.make()
        try await file.write(bytes(500), at: 0)
        let gate = Gate()
        fixture.store.script { call throws(StoreError) in
            guard case .completeUpload = call else { return }
            await gate.pass()
            throw StoreError(.unavailable, code: "Down", message: "")
        }
        try await file.accept()
        #expect(await eventually { gate.waiting > 0 })
        let target = ObjectKey("target")
        let renaming = Task { try await file.beginRename(to: target, over: nil) }
        gate.open()
        #expect(try await renaming.value)
        file.rename(to: target)
        fixture.store.script { _ in }
        file.release()
        try await file.flush()
        #expect(fixture.store.content(target) == bytes(500) && fixture.stored == nil)
        #expect(fixture.store.openUploads.isEmpty)
    }

    @Test("what was stored just before the crash is not taken for somebody else's")
    func own() async throws {
        let fixture = try StagedFixture()
        let file = try fixture.make()
        try await file.write(bytes(30), at: 0)
        fixture.store.setTime(Timestamp.now() + .seconds(10))
        try await file.accept()
        let pending = try #require(try await fixture.reader.pendingUploads().first)
        #expect(await eventually { !file.isAccepted })
        let restored = try StagedFile.restore(pending, in: fixture.context)
        try await restored.flush()
        #expect(fixture.stored == bytes(30))
    }
}
