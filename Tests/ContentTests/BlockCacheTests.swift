import Glibc
import Logging
import ObjectStore
import Synchronization
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Content

private let key = ObjectKey("file")
private let mebi: UInt64 = 1 << 20

/// A store with one file, and caches that come and go over one directory, as mounts do.
private struct Fixture {
    let store = FakeStore()
    let data: [UInt8]
    let directory: TemporaryDirectory
    var path: String { directory.path + "/blocks" }

    init(sizeBytes: Int = 3 << 20) throws {
        // No two blocks are alike; made quickly.
        var generator = SeededGenerator(seed: UInt64(sizeBytes))
        var data: [UInt8] = []
        data.reserveCapacity(sizeBytes)
        while data.count < sizeBytes {
            data += generator.bytes(64)
            data += [UInt8](repeating: 7, count: min(sizeBytes - data.count, 30_000))
        }
        self.data = Array(data[..<sizeBytes])
        store.put(key, data)
        directory = try TemporaryDirectory()
    }

    func blocks(
        bytesMax: UInt64 = 1 << 40, keepFreeBytes: UInt64 = 0, freeBytes: (@Sendable () -> UInt64)? = nil,
        recordAfter: Duration = .seconds(1), patience: Duration = .seconds(10), indexPagesMax: Int? = nil
    ) async throws -> BlockCache {
        try await BlockCache(
            directory: path, limits: .init(bytesMax: bytesMax, keepFreeBytes: keepFreeBytes), freeBytes: freeBytes,
            recordAfter: recordAfter, patience: patience, indexPagesMax: indexPagesMax, log: Logger(label: "test"))
    }

    func content(_ blocks: BlockCache?, _ key: ObjectKey = key, bytesMax: Int = 64 << 20) -> FileContent {
        let record = store.record(key)
        return ContentCache(store: store, bytesMax: bytesMax, blocks: blocks).content(
            key: key, version: nil, etag: record?.etag ?? "", sizeBytes: record?.sizeBytes ?? 0)
    }

    /// The disk takes nothing of the file's segments: pipes lie where theirs would. Answers the pipes.
    func stall(_ blocks: BlockCache) async throws -> [String] {
        let record = try #require(store.record(key))
        let name = BlockName(key: key, version: nil, etag: record.etag, sizeBytes: record.sizeBytes)
        let count = UInt32((record.sizeBytes + Blocks.segmentBytes - 1) / Blocks.segmentBytes)
        return try await stall(blocks, 0..<count, of: name)
    }

    func stall(_ blocks: BlockCache, _ numbers: Range<UInt32>, of name: BlockName = large) async throws -> [String] {
        // Before that, they may be taken for what a killed process has left.
        #expect(await eventually { blocks.isQuiet })
        return try numbers.map { number in
            let segment = SegmentName(object: name, number: number)
            mkdir(path + "/" + segment.directory, 0o700)
            try #require(mkfifo(path + "/" + segment.path, 0o600) == 0)
            return path + "/" + segment.path
        }
    }

    /// The disk goes on, though what it is to write there fails, for as long as the answer lives.
    func goOn(_ pipes: [String]) -> [LocalFile] {
        pipes.map { LocalFile(descriptor: open($0, O_RDWR | O_NONBLOCK | O_CLOEXEC)) }
    }

    /// Reads it all in steps, and tells whether it is what it should be.
    func read(_ content: FileContent) async throws -> Bool {
        for start in stride(from: 0, to: content.sizeBytes, by: 1 << 20) {
            let range = start..<min(start + mebi, content.sizeBytes)
            let bytes = try await content.bytes(range, ahead: 0).bytes
            guard bytes == Array(data[Int(range.lowerBound)..<Int(range.upperBound)]) else { return false }
        }
        return true
    }

    /// Reads it all through one cache, and waits until as much as it is is on disk.
    func fill(_ blocks: BlockCache, _ key: ObjectKey = key) async throws {
        let before = blocks.usedBytes
        let size = store.record(key)?.sizeBytes ?? 0
        let content = content(blocks, key)
        _ = try await content.bytes(0..<size, ahead: 0)
        #expect(await eventually { blocks.usedBytes >= before + size })
    }

    private static let largeBytes: UInt64 = 1 << 40
    static let large = BlockName(key: key, version: nil, etag: "", sizeBytes: largeBytes)

    /// Brings the first block of each of these segments of a large object to the disk.
    func keep(_ numbers: Range<UInt64>, in blocks: BlockCache) async throws {
        let size = Self.largeBytes
        let cache = ContentCache(store: store, bytesMax: 1 << 20)
        let file = cache.content(key: key, version: nil, etag: "", sizeBytes: size)
        let object = try #require(await blocks.object(key, version: nil, etag: "", sizeBytes: size))
        for number in numbers {
            let start = number * Blocks.segmentBytes
            let part = Part(
                range: start..<start + Blocks.blockBytes, file: file, isExpected: false, buffers: cache.buffers)
            #expect(data[..<Int(Blocks.blockBytes)].withUnsafeBytes { part.receive($0) })
            #expect(blocks.announce(part.range.count, isRestored: true, within: 0))
            await blocks.keep(part, of: object, isRestored: true)
        }
    }

    func files() -> [String] {
        (0..<256).flatMap { number -> [String] in
            let name = path + "/" + SegmentName.directory(UInt64(number))
            guard let listing = opendir(name) else { return [] }
            defer { closedir(listing) }
            var names: [String] = []
            while let entry = readdir(listing) {
                let file = withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                if !file.hasPrefix(".") { names.append(name + "/" + file) }
            }
            return names
        }
    }
}

private final class Flag: Sendable {
    private let state = Atomic(false)
    var isSet: Bool { state.load(ordering: .acquiring) }
    func set() { state.store(true, ordering: .releasing) }
}

extension PinnedBytes {
    fileprivate var bytes: [UInt8] { withPieces { pieces in pieces.flatMap { Array($0) } } }
}

@Suite("the block cache")
struct BlockCacheTests {
    @Test("what was read is not fetched again by the next mount, whatever ranges are read")
    func survives() async throws {
        let fixture = try Fixture()
        let first = try await fixture.blocks()
        try await fixture.fill(first)
        await first.end()
        let fetched = fixture.store.gets.count
        let second = try await fixture.blocks()
        #expect(second.usedBytes == UInt64(fixture.data.count))
        let content = fixture.content(second)
        for range in [0..<mebi, 5..<6, 2 * mebi - 7..<2 * mebi + 100_000, 3 * mebi - 1..<3 * mebi] {
            let bytes = try await content.bytes(range, ahead: mebi).bytes
            #expect(bytes == Array(fixture.data[Int(range.lowerBound)..<Int(range.upperBound)]))
        }
        #expect(fixture.store.gets.count == fetched)
    }

    @Test("what a killed process had not written down is fetched again, and its files go")
    func killed() async throws {
        let fixture = try Fixture()
        let first = try await fixture.blocks(recordAfter: .seconds(3600))
        try await fixture.fill(first)
        // Nothing is written down yet.
        #expect(fixture.files().count == 1)
        let second = try await fixture.blocks()
        #expect(second.usedBytes == 0)
        #expect(await eventually { fixture.files().isEmpty })
        // What it writes itself stays, however soon.
        let third = try await fixture.blocks()
        try await fixture.fill(third)
        await third.end()
        let fourth = try await fixture.blocks()
        let fetched = fixture.store.gets.count
        #expect(try await fixture.read(fixture.content(fourth)))
        #expect(fixture.store.gets.count == fetched)
        withExtendedLifetime((first, second)) {}
    }

    @Test("a block that the disk changed is fetched again, and only its object's reader notices nothing")
    func damaged() async throws {
        let fixture = try Fixture()
        let first = try await fixture.blocks()
        try await fixture.fill(first)
        await first.end()
        let file = try #require(fixture.files().first)
        let descriptor = open(file, O_WRONLY)
        #expect(pwrite(descriptor, "X", 1, 100_000) == 1)
        close(descriptor)
        let fetched = fixture.store.gets.count
        let second = try await fixture.blocks()
        let bytes = try await fixture.content(second).bytes(0..<3 * mebi, ahead: 0).bytes
        #expect(bytes == fixture.data)
        #expect(fixture.store.gets.count > fetched)
        #expect(try await fixture.content(second).bytes(2 * mebi..<3 * mebi, ahead: 0).bytes.count == Int(mebi))
    }

    @Test("another version of the object is another object")
    func replaced() async throws {
        let fixture = try Fixture()
        let blocks = try await fixture.blocks()
        try await fixture.fill(blocks)
        let other = [UInt8](repeating: 7, count: fixture.data.count)
        fixture.store.put(key, other)
        #expect(try await fixture.content(blocks).bytes(0..<mebi, ahead: 0).bytes == Array(other[..<Int(mebi)]))
    }

    @Test("what was not used for longest makes room, and the limit holds")
    func evicts() async throws {
        let fixture = try Fixture(sizeBytes: 1 << 20)
        let blocks = try await fixture.blocks(bytesMax: 4 << 20)
        for number in 0..<8 {
            let key = ObjectKey("file-\(number)")
            fixture.store.put(key, fixture.data)
            _ = try await fixture.content(blocks, key).bytes(0..<mebi, ahead: 0)
            #expect(await eventually { blocks.backlog.settled > number })
            #expect(blocks.usedBytes <= 4 << 20)
        }
        #expect(fixture.files().count <= 4)
        let fetched = fixture.store.gets.count
        _ = try await fixture.content(blocks, ObjectKey("file-7")).bytes(0..<mebi, ahead: 0)
        #expect(fixture.store.gets.count == fetched)
        _ = try await fixture.content(blocks, ObjectKey("file-0")).bytes(0..<mebi, ahead: 0)
        #expect(fixture.store.gets.count > fetched)
    }

    @Test("bytes of a restored copy stay longer than those that cost nothing to get again")
    func keepsRestored() async throws {
        let fixture = try Fixture(sizeBytes: 1 << 20)
        let blocks = try await fixture.blocks(bytesMax: 4 << 20)
        let thawed = ObjectKey("thawed")
        fixture.store.put(thawed, fixture.data)
        fixture.store.change(thawed) { $0.restore = .restored(until: nil) }
        try await fixture.fill(blocks, thawed)
        for number in 0..<8 {
            let key = ObjectKey("file-\(number)")
            fixture.store.put(key, fixture.data)
            _ = try await fixture.content(blocks, key).bytes(0..<mebi, ahead: 0)
            #expect(await eventually { blocks.backlog.settled > number + 1 })
        }
        let record = try #require(fixture.store.record(thawed))
        #expect(await blocks.holds(thawed, version: nil, etag: record.etag, sizeBytes: record.sizeBytes))
    }

    @Test("a disk that has no room to spare is left alone")
    func keepsFree() async throws {
        let fixture = try Fixture()
        let blocks = try await fixture.blocks(keepFreeBytes: 1 << 60)
        #expect(try await fixture.content(blocks).bytes(0..<mebi, ahead: 0).bytes == Array(fixture.data[..<Int(mebi)]))
        #expect(await eventually { blocks.backlog.settled == 1 })
        #expect(blocks.usedBytes == 0)
        #expect(fixture.files().isEmpty)
    }

    @Test("restored bytes that come faster than they can be written wait where they are, not in memory")
    func slowDisk() async throws {
        let fixture = try Fixture(sizeBytes: 12 << 20)
        fixture.store.change(key) { $0.restore = .restored(until: nil) }
        let blocks = try await fixture.blocks(patience: .seconds(3600))
        let pipes = try await fixture.stall(blocks)
        let content = fixture.content(blocks, bytesMax: 8 << 20)
        let isRead = Flag()
        let reader = Task {
            defer { isRead.set() }
            return try await fixture.read(content)
        }
        #expect(await eventually { blocks.backlog.heldBack > 0 || isRead.isSet })
        #expect(!isRead.isSet)
        #expect(blocks.pendingBytes <= 8 << 20)
        let disk = fixture.goOn(pipes)
        #expect(try await reader.value)
        withExtendedLifetime(disk) {}
    }

    @Test("a disk that does nothing holds nobody back, and what it would have to write is not kept in memory")
    func deadDisk() async throws {
        let fixture = try Fixture(sizeBytes: 12 << 20)
        fixture.store.change(key) { $0.restore = .restored(until: nil) }
        let blocks = try await fixture.blocks(patience: .milliseconds(20))
        let pipes = try await fixture.stall(blocks)
        #expect(try await fixture.read(fixture.content(blocks, bytesMax: 8 << 20)))
        #expect(blocks.pendingBytes <= 8 << 20)
        withExtendedLifetime(fixture.goOn(pipes)) {}
    }

    @Test("an index that has no room for more goes on making room, and what it could not take it takes then")
    func fullIndex() async throws {
        let fixture = try Fixture()
        let blocks = try await fixture.blocks(bytesMax: 1 << 30, recordAfter: .seconds(3600), indexPagesMax: 40)
        // Each row takes a page, and a little.
        try await fixture.keep(0..<20, in: blocks)
        #expect(await blocks.record())
        try await fixture.keep(20..<45, in: blocks)
        #expect(await !blocks.record())
        #expect(blocks.usedBytes == 45 * Blocks.blockBytes)
        // As for who writes a file that takes it all.
        #expect(await blocks.trim(for: 1 << 30))
        #expect(blocks.usedBytes == 25 * Blocks.blockBytes)
        #expect(fixture.files().count == 25)
        await blocks.end()
        #expect(try await fixture.blocks().usedBytes == 25 * Blocks.blockBytes)
    }

    @Test("who finds that room is being made for less has it made for as much as he needs")
    func trimsForMore() async throws {
        let fixture = try Fixture()
        let blocks = try await fixture.blocks(bytesMax: 4 << 20)
        try await fixture.keep(0..<32, in: blocks)
        // Every thread that writes and removes files has one to write that does not come to its end.
        let pipes = try await fixture.stall(blocks, 100..<104)
        let writers = (100..<104).map { number in Task { try await fixture.keep(number..<number + 1, in: blocks) } }
        #expect(await eventually { blocks.pendingBytes == 4 * Int(Blocks.blockBytes) })
        let first = Task.immediate { await blocks.trim(for: 2 << 20) }
        #expect(await eventually { blocks.usedBytes < 2 << 20 })
        let second = Task.immediate { await blocks.trim(for: 3 << 20) }
        let disk = fixture.goOn(pipes)
        #expect(await first.value)
        #expect(await second.value)
        #expect(blocks.usedBytes <= 1 << 20)
        for writer in writers { try await writer.value }
        withExtendedLifetime(disk) {}
    }

    @Test("an object may be said to have any size", arguments: [1 << 56, 1 << 62, UInt64.max])
    func anySize(_ sizeBytes: UInt64) async throws {
        let blocks = try await Fixture().blocks()
        #expect(await !blocks.holds(key, version: nil, etag: "", sizeBytes: sizeBytes))
    }

    @Test("what a mount leaves that could not wait for its disk, the next one removes")
    func endsBusy() async throws {
        let fixture = try Fixture()
        let first = try await fixture.blocks(patience: .milliseconds(20))
        await first.end()
        let second = try await fixture.blocks(patience: .milliseconds(20))
        let pipes = try await fixture.stall(second, 0..<1)
        let writer = Task { try await fixture.keep(0..<1, in: second) }
        #expect(await eventually { second.pendingBytes > 0 })
        let pipe = fixture.directory.path + "/pipe"
        #expect(link(pipes[0], pipe) == 0)
        await second.end()
        #expect(!second.announce(1, isRestored: true, within: 1 << 20))
        #expect(fixture.files().count == 1)
        let third = try await fixture.blocks()
        #expect(await eventually { fixture.files().isEmpty })
        let disk = fixture.goOn([pipe])
        try await writer.value
        withExtendedLifetime((disk, third)) {}
    }

    @Test("what could not be written to its end leaves no file")
    func failsHalfway() async throws {
        let fixture = try Fixture()
        let blocks = try await fixture.blocks()
        // No place in a pipe can be written to.
        let disk = fixture.goOn(try await fixture.stall(blocks, 0..<1))
        #expect(fixture.files().count == 1)
        try await fixture.keep(0..<1, in: blocks)
        #expect(fixture.files().isEmpty)
        #expect(blocks.usedBytes == 0)
        withExtendedLifetime(disk) {}
    }

    @Test("a disk that tells late what it was given back does not cost more than that", arguments: [UInt64(0), 1 << 20])
    func tellsLate(_ bytes: UInt64) async throws {
        let fixture = try Fixture()
        let isTight = Flag()
        let blocks = try await fixture.blocks(
            bytesMax: 32 << 20, keepFreeBytes: 1 << 30, freeBytes: { isTight.isSet ? (1 << 30) - (1 << 20) : 2 << 30 })
        try await fixture.keep(0..<128, in: blocks)
        #expect(blocks.usedBytes == 8 << 20)
        isTight.set()
        #expect(await blocks.trim(for: bytes))
        // What is missing, and a thirty-second of the limit.
        #expect(blocks.usedBytes == (6 << 20) - bytes)
    }

    @Test("what the user may have of the disk bounds the cache once that was refused")
    func quota() async throws {
        let fixture = try Fixture()
        let blocks = try await fixture.blocks(bytesMax: 1 << 30)
        try await fixture.keep(0..<288, in: blocks)
        #expect(await !blocks.trim(for: 0))
        blocks.rest(after: ErrnoError(code: EDQUOT))
        #expect(await blocks.trim(for: 0))
        #expect(blocks.usedBytes <= 2 << 20)
    }

    @Test("an index that is no database is replaced, and nothing wrong is read")
    func brokenIndex() async throws {
        let fixture = try Fixture()
        let first = try await fixture.blocks()
        try await fixture.fill(first)
        await first.end()
        for suffix in ["-wal", "-shm"] { unlink(fixture.path + "/index.sqlite" + suffix) }
        let descriptor = open(fixture.path + "/index.sqlite", O_WRONLY | O_TRUNC)
        let noise = [UInt8](repeating: 0x5A, count: 8192)
        #expect(write(descriptor, noise, noise.count) == noise.count)
        close(descriptor)
        let second = try await fixture.blocks()
        #expect(second.usedBytes == 0)
        #expect(try await fixture.content(second).bytes(0..<mebi, ahead: 0).bytes == Array(fixture.data[..<Int(mebi)]))
    }

    @Test("verifying finds and drops what is damaged, clearing drops all")
    func verifies() async throws {
        let fixture = try Fixture(sizeBytes: 17 << 20)
        // So much at once tells that it comes faster than from a disk; restored, it is kept all the same.
        fixture.store.change(key) { $0.restore = .restored(until: nil) }
        let first = try await fixture.blocks()
        try await fixture.fill(first)
        await first.end()
        let second = try await fixture.blocks()
        let sound = try await second.verify()
        #expect(sound.segments == 2 && sound.bytes == 17 << 20 && sound.damaged == 0)
        let file = try #require(fixture.files().first)
        #expect(truncate(file, 1000) == 0)
        let result = try await second.verify()
        #expect(result.segments == 2 && result.damaged == 1)
        #expect(fixture.files().count == 1)
        _ = try await second.clear()
        #expect(fixture.files().isEmpty)
        #expect(second.usedBytes == 0)
    }
}
