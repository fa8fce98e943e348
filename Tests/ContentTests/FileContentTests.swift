import ObjectStore
import Testing
import ThawCore
import ThawTesting

@testable import Content

private let key = ObjectKey("file")
private let kibi: UInt64 = 1 << 10
private let mebi: UInt64 = 1 << 20

extension PinnedBytes {
    fileprivate var bytes: [UInt8] { withPieces { pieces in pieces.flatMap { Array($0) } } }
}

/// One file of seeded bytes, and a content of it.
private struct Fixture {
    let store = FakeStore()
    let cache: ContentCache
    let data: [UInt8]
    let content: FileContent

    init(sizeBytes: Int = 4 << 20, bytesMax: Int = 64 << 20, pieceBytes: Int = 16_000) {
        var generator = SeededGenerator(seed: UInt64(sizeBytes))
        data = generator.bytes(sizeBytes)
        store.put(key, data)
        store.deliver(pieceBytes: pieceBytes)
        cache = ContentCache(store: store, bytesMax: bytesMax)
        content = cache.content(
            key: key, version: nil, etag: store.record(key)?.etag ?? "", sizeBytes: UInt64(sizeBytes))
    }

    func expected(_ range: Range<UInt64>) -> [UInt8] { Array(data[Int(range.lowerBound)..<Int(range.upperBound)]) }

    func read(_ range: Range<UInt64>, ahead: UInt64 = 0) async throws -> [UInt8] {
        try await content.bytes(range, ahead: ahead).bytes
    }

    var overlaps: Bool {
        let sorted = store.gets.sorted { $0.lowerBound < $1.lowerBound }
        return zip(sorted, sorted.dropFirst()).contains { $0.upperBound > $1.lowerBound }
    }
}

@Suite("the content of an open file")
struct FileContentTests {
    @Test("any range gives exactly its bytes, and no byte is fetched twice")
    func exactBytes() async throws {
        let fixture = Fixture()
        var generator = SeededGenerator(seed: 7)
        for _ in 0..<60 {
            let start = UInt64.random(in: 0..<UInt64(fixture.data.count), using: &generator)
            let size = UInt64.random(in: 1...200 * kibi, using: &generator)
            let range = start..<min(start + size, UInt64(fixture.data.count))
            let ahead: UInt64 = [0, mebi, 3 * mebi].randomElement(using: &generator) ?? 0
            #expect(try await fixture.read(range, ahead: ahead) == fixture.expected(range))
        }
        #expect(!fixture.overlaps)
    }

    @Test("readers at once, at random places, get exact bytes from parts that never overlap")
    func concurrentRandomReads() async throws {
        let fixture = Fixture()
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for reader in 0..<8 {
                group.addTask {
                    var generator = SeededGenerator(seed: UInt64(reader))
                    for _ in 0..<20 {
                        let start = UInt64.random(in: 0..<UInt64(fixture.data.count) - 4096, using: &generator)
                        let range = start..<start + 4096
                        guard try await fixture.read(range) == fixture.expected(range) else { return false }
                    }
                    return true
                }
            }
            for try await isExact in group { #expect(isExact) }
        }
        #expect(!fixture.overlaps)
    }

    @Test("readers of the same bytes share one GET")
    func sharing() async throws {
        let fixture = Fixture()
        let gate = Gate()
        fixture.store.script { _ throws(StoreError) in await gate.pass() }
        try await withThrowingTaskGroup(of: [UInt8].self) { group in
            for _ in 0..<10 { group.addTask { try await fixture.read(100..<5000) } }
            #expect(await eventually { gate.waiting == 1 })
            gate.open()
            for try await bytes in group { #expect(bytes == fixture.expected(100..<5000)) }
        }
        #expect(fixture.store.gets == [0..<64 * kibi])
    }

    @Test("bytes are at hand only when all of them are here, and asking starts to fetch them")
    func atHand() async throws {
        let fixture = Fixture()
        #expect(fixture.content.bytesAtHand(0..<4096, ahead: 0) == nil)
        #expect(await eventually { fixture.content.bytesAtHand(0..<4096, ahead: 0) != nil })
        #expect(fixture.content.bytesAtHand(0..<4096, ahead: 0)?.bytes == fixture.expected(0..<4096))
        #expect(fixture.store.gets.count == 1)
    }

    @Test("what is fetched ahead is not fetched again, and ends at the end of the file")
    func ahead() async throws {
        let fixture = Fixture(sizeBytes: Int(2 * mebi + 5))
        _ = try await fixture.read(0..<128 * kibi, ahead: 32 * mebi)
        #expect(try await fixture.read(2 * mebi..<2 * mebi + 5) == fixture.expected(2 * mebi..<2 * mebi + 5))
        #expect(fixture.store.gets == [0..<2 * mebi + 5])
    }

    @Test("a file's last bytes are a short part, never past the end")
    func end() async throws {
        let fixture = Fixture(sizeBytes: 100_000)
        #expect(try await fixture.read(99_999..<100_000) == fixture.expected(99_999..<100_000))
        #expect(fixture.store.gets == [64 * kibi..<100_000])
        #expect(try await fixture.read(0..<100_000) == fixture.data)
        #expect(!fixture.overlaps)
    }

    @Test("a part takes what it asked for, bit by bit, and not a byte more")
    func bounds() {
        let store = FakeStore()
        let cache = ContentCache(store: store, bytesMax: 1 << 20)
        let content = cache.content(key: key, version: nil, etag: "e", sizeBytes: 10_000)
        let part = Part(range: 0..<10_000, file: content, isExpected: false, buffers: cache.buffers)
        #expect([UInt8](repeating: 1, count: 4000).withUnsafeBytes { part.receive($0) })
        #expect(part.filledEnd == 4000)
        #expect(!part.isComplete)
        #expect([UInt8](repeating: 2, count: 6001).withUnsafeBytes { part.receive($0) } == false)
        #expect(part.filledEnd == 4000)
    }

    @Test("within the limit nothing is fetched twice, beyond it what was used longest ago goes first")
    func eviction() async throws {
        let fixture = Fixture(bytesMax: 4 * 64 << 10)
        func touch(_ part: UInt64) async throws {
            let range = part * 64 * kibi..<part * 64 * kibi + 10
            #expect(try await fixture.read(range) == fixture.expected(range))
        }
        for part in UInt64(0)..<4 { try await touch(part) }
        for part in UInt64(0)..<4 { try await touch(part) }
        #expect(fixture.store.gets.count == 4)
        try await touch(0)
        try await touch(4)
        try await touch(0)
        #expect(fixture.store.gets.count == 5)
        try await touch(1)
        #expect(fixture.store.gets.count == 6)
    }

    @Test("bytes that a reader holds stay right after they were evicted")
    func pinned() async throws {
        let fixture = Fixture(bytesMax: 64 << 10)
        let held = try await fixture.content.bytes(0..<1000, ahead: 0)
        for part in UInt64(1)..<8 { _ = try await fixture.read(part * 128 * kibi..<part * 128 * kibi + 10) }
        #expect(held.bytes == fixture.expected(0..<1000))
        #expect(try await fixture.read(0..<1000) == fixture.expected(0..<1000))
        #expect(fixture.store.gets.count { $0.lowerBound == 0 } == 2)
    }

    @Test("what a reader is in the midst of makes no room, though others read since")
    func midst() async throws {
        let fixture = Fixture(bytesMax: 4 << 20)
        let mebi: UInt64 = 1 << 20
        _ = try await fixture.read(0..<1000, ahead: 2 * mebi)
        #expect(try await fixture.read(mebi..<mebi + 1000) == fixture.expected(mebi..<mebi + 1000))
        _ = try await fixture.read(0..<1000)
        // Two parts of two others: the second of them needs room.
        for name in ["b", "c"] {
            let key = ObjectKey(name)
            fixture.store.put(key, fixture.data)
            let other = fixture.cache.content(
                key: key, version: nil, etag: fixture.store.record(key)?.etag ?? "", sizeBytes: 4 * mebi)
            _ = try await other.bytes(0..<1000, ahead: 2 * mebi)
        }
        let gets = fixture.store.gets.count
        #expect(try await fixture.read(mebi + 1000..<2 * mebi) == fixture.expected(mebi + 1000..<2 * mebi))
        #expect(fixture.store.gets.count == gets)
    }

    @Test("nothing is fetched ahead for which there is no room")
    func noRoomAhead() async throws {
        let fixture = Fixture(bytesMax: 1 << 20)
        let gate = Gate()
        fixture.store.script { _ throws(StoreError) in await gate.pass() }
        _ = fixture.content.bytesAtHand(0..<100, ahead: 3 * mebi)
        #expect(await eventually { gate.waiting >= 1 })
        #expect(fixture.store.gets == [0..<mebi])
        gate.open()
        #expect(try await fixture.read(0..<100) == fixture.expected(0..<100))
    }

    @Test("a failure reaches all who wait, and the next read asks again")
    func failure() async throws {
        let fixture = Fixture()
        let gate = Gate()
        fixture.store.script { _ throws(StoreError) in
            await gate.pass()
            throw StoreError(.denied, status: 403, code: "AccessDenied", message: "no", requestID: "r1")
        }
        let readers = (0..<5).map { _ in Task { try await fixture.read(0..<100) } }
        #expect(await eventually { gate.waiting == 1 })
        gate.open()
        for reader in readers {
            let error = await #expect(throws: StoreError.self) { try await reader.value }
            #expect(error?.kind == .denied)
            #expect(error?.requestID == "r1")
        }
        fixture.store.script { _ throws(StoreError) in }
        #expect(try await fixture.read(0..<100) == fixture.expected(0..<100))
    }

    @Test("a replaced object fails the read, never mixes")
    func replaced() async throws {
        let fixture = Fixture()
        _ = try await fixture.read(0..<100)
        fixture.store.put(key, Array(repeating: 9, count: fixture.data.count))
        let error = await #expect(throws: StoreError.self) { try await fixture.read(mebi..<mebi + 100) }
        #expect(error?.kind == .preconditionFailed)
        #expect(try await fixture.read(0..<100) == fixture.expected(0..<100))
    }

    @Test("a body that is short without an error is an error")
    func short() async throws {
        let fixture = Fixture(sizeBytes: 1000)
        let content = fixture.cache.content(
            key: key, version: nil, etag: fixture.store.record(key)?.etag ?? "", sizeBytes: 2000)
        let error = await #expect(throws: StoreError.self) { try await content.bytes(0..<2000, ahead: 0) }
        #expect(error?.kind == .nonsense)
    }

    @Test("one cancelled reader stops waiting at once; the others get their bytes from the same GET")
    func cancellation() async throws {
        let fixture = Fixture()
        let gate = Gate()
        fixture.store.script { _ throws(StoreError) in await gate.pass() }
        let impatient = Task { try await fixture.read(0..<100) }
        let patient = Task { try await fixture.read(0..<100) }
        #expect(await eventually { gate.waiting == 1 })
        impatient.cancel()
        let error = await #expect(throws: StoreError.self) { try await impatient.value }
        #expect(error?.kind == .cancelled)
        gate.open()
        #expect(try await patient.value == fixture.expected(0..<100))
        #expect(fixture.store.gets.count == 1)
    }

    @Test("closing aborts what is on its way and fails who still waits")
    func close() async throws {
        let fixture = Fixture()
        let gate = Gate()
        fixture.store.script { _ throws(StoreError) in await gate.pass() }
        let reader = Task { try await fixture.read(0..<100) }
        #expect(await eventually { gate.waiting == 1 })
        fixture.content.close()
        let error = await #expect(throws: StoreError.self) { try await reader.value }
        #expect(error?.kind == .cancelled)
        #expect(gate.waiting == 0)
    }

    @Test("a closed file's memory is free for others")
    func closeFreesMemory() async throws {
        let fixture = Fixture(bytesMax: 64 << 10)
        _ = try await fixture.read(0..<100)
        let other = fixture.cache.content(
            key: key, version: nil, etag: fixture.content.etag, sizeBytes: fixture.content.sizeBytes)
        fixture.content.close()
        #expect(try await other.bytes(0..<100, ahead: 0).bytes == fixture.expected(0..<100))
        #expect(try await other.bytes(100..<200, ahead: 0).bytes == fixture.expected(100..<200))
        #expect(fixture.store.gets.count == 2)
    }
}
