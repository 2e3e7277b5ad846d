package headrace.bench;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.python.shaded.org.apache.arrow.memory.BufferAllocator;
import org.apache.flink.api.python.shaded.org.apache.arrow.vector.ipc.ArrowFileReader;
import org.apache.flink.api.python.shaded.org.apache.arrow.vector.ipc.message.ArrowBlock;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.legacy.table.connector.source.SourceFunctionProvider;
import org.apache.flink.streaming.api.functions.source.legacy.RichParallelSourceFunction;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.connector.source.ScanTableSource;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DynamicTableSourceFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.runtime.arrow.ArrowReader;
import org.apache.flink.table.runtime.arrow.ArrowUtils;
import org.apache.flink.table.types.logical.RowType;

/**
 * The connector "arrow-rows": an Arrow IPC file, read with the Arrow classes that Flink itself ships and given
 * out as Flink's own columnar rows, so that nothing is parsed and a column that no query reads costs nothing.
 * Subtask i of n reads the record batches i, i + n, i + 2 n, …
 */
public final class ArrowRows implements DynamicTableSourceFactory {
    private static final ConfigOption<String> PATH = ConfigOptions.key("path").stringType().noDefaultValue();

    @Override
    public String factoryIdentifier() {
        return "arrow-rows";
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(PATH);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of();
    }

    @Override
    public DynamicTableSource createDynamicTableSource(Context context) {
        var helper = FactoryUtil.createTableFactoryHelper(this, context);
        helper.validate();
        var row = (RowType) context.getPhysicalRowDataType().getLogicalType();
        return new Table(helper.getOptions().get(PATH), row);
    }

    private record Table(String path, RowType row) implements ScanTableSource {
        @Override
        public ChangelogMode getChangelogMode() {
            return ChangelogMode.insertOnly();
        }

        @Override
        public ScanRuntimeProvider getScanRuntimeProvider(ScanContext context) {
            return SourceFunctionProvider.of(new Reader(path, row), true);
        }

        @Override
        public DynamicTableSource copy() {
            return this;
        }

        @Override
        public String asSummaryString() {
            return "arrow rows of " + path;
        }
    }

    /** Reads one subtask's share of the record batches. */
    public static final class Reader extends RichParallelSourceFunction<RowData> {
        private static final int ROWS_PER_LOCK = 128;
        private final String path;
        private final RowType row;
        private volatile boolean running = true;

        Reader(String path, RowType row) {
            this.path = path;
            this.row = row;
        }

        @Override
        public void open(OpenContext context) {}

        @Override
        public void run(SourceContext<RowData> context) throws IOException {
            var info = getRuntimeContext().getTaskInfo();
            try (BufferAllocator memory =
                            ArrowUtils.getRootAllocator().newChildAllocator(path, 0, Long.MAX_VALUE);
                    FileChannel channel = FileChannel.open(Path.of(path));
                    ArrowFileReader file = new ArrowFileReader(channel, memory)) {
                ArrowReader rows = ArrowUtils.createArrowReader(file.getVectorSchemaRoot(), row);
                List<ArrowBlock> blocks = file.getRecordBlocks();
                int step = info.getNumberOfParallelSubtasks();
                for (int at = info.getIndexOfThisSubtask(); at < blocks.size() && running; at += step) {
                    file.loadRecordBatch(blocks.get(at));
                    give(context, rows, file.getVectorSchemaRoot().getRowCount());
                }
            }
        }

        private void give(SourceContext<RowData> context, ArrowReader rows, int count) {
            for (int first = 0; first < count && running; first += ROWS_PER_LOCK) {
                synchronized (context.getCheckpointLock()) {
                    for (int at = first; at < Math.min(first + ROWS_PER_LOCK, count); at++) {
                        context.collect(rows.read(at));
                    }
                }
            }
        }

        @Override
        public void cancel() {
            running = false;
        }
    }
}
