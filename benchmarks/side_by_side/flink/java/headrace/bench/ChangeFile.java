package headrace.bench;

import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.streaming.api.functions.sink.legacy.RichSinkFunction;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.connector.sink.legacy.SinkFunctionProvider;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DynamicTableSinkFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.RowType;

/** The connector "change-file": every change as a line, "+" or "-" and the values, for the check of results. */
public final class ChangeFile implements DynamicTableSinkFactory {
    private static final ConfigOption<String> PATH = ConfigOptions.key("path").stringType().noDefaultValue();

    @Override
    public String factoryIdentifier() {
        return "change-file";
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
    public DynamicTableSink createDynamicTableSink(Context context) {
        var helper = FactoryUtil.createTableFactoryHelper(this, context);
        helper.validate();
        var row = (RowType) context.getPhysicalRowDataType().getLogicalType();
        return new Table(helper.getOptions().get(PATH), row);
    }

    private record Table(String path, RowType row) implements DynamicTableSink {
        @Override
        public ChangelogMode getChangelogMode(ChangelogMode requested) {
            return ChangelogMode.all();
        }

        @Override
        public SinkRuntimeProvider getSinkRuntimeProvider(Context context) {
            return SinkFunctionProvider.of(new Writer(path, row));
        }

        @Override
        public DynamicTableSink copy() {
            return this;
        }

        @Override
        public String asSummaryString() {
            return "changes to " + path;
        }
    }

    /** Writes one subtask's changes to a file of its own. */
    public static final class Writer extends RichSinkFunction<RowData> {
        private final String path;
        private final LogicalType[] types;
        private transient RowData.FieldGetter[] getters;
        private transient BufferedWriter file;

        Writer(String path, RowType row) {
            this.path = path;
            this.types = row.getChildren().toArray(new LogicalType[0]);
        }

        @Override
        public void open(OpenContext context) throws IOException {
            getters = new RowData.FieldGetter[types.length];
            for (int at = 0; at < types.length; at++) {
                getters[at] = RowData.createFieldGetter(types[at], at);
            }
            int number = getRuntimeContext().getTaskInfo().getIndexOfThisSubtask();
            file = Files.newBufferedWriter(Path.of(path + "." + number));
        }

        @Override
        public void invoke(RowData row, Context context) throws IOException {
            var line = new StringBuilder(row.getRowKind().shortString().substring(0, 1));
            for (RowData.FieldGetter getter : getters) {
                Object value = getter.getFieldOrNull(row);
                line.append('\u001f').append(value == null ? "\u0000" : value.toString());
            }
            file.write(line.append('\n').toString());
        }

        @Override
        public void close() throws IOException {
            if (file != null) {
                file.close();
            }
        }
    }
}
