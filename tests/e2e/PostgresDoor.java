// The door of Postgres' protocol, opened by pgjdbc: what a tool reads of the catalog, rows in portions, typed values, errors.
import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

class PostgresDoor {
    public static void main(String[] arguments) throws SQLException {
        try (Connection connection = DriverManager.getConnection(arguments[0], arguments[1], System.getenv("PGPASSWORD"))) {
            var metadata = connection.getMetaData();
            try (ResultSet tables = metadata.getTables(null, "lake", "%", null)) {
                while (tables.next()) {
                    System.out.println("table " + tables.getString("TABLE_SCHEM") + "." + tables.getString("TABLE_NAME") + " " + tables.getString("TABLE_TYPE"));
                }
            }
            try (ResultSet columns = metadata.getColumns(null, "lake", "customers", "%")) {
                while (columns.next()) {
                    System.out.println("column " + columns.getString("COLUMN_NAME") + " " + columns.getString("TYPE_NAME"));
                }
            }
            try (ResultSet keys = metadata.getPrimaryKeys(null, "lake", "customers")) {
                System.out.println("keys " + keys.next());
            }
            connection.setAutoCommit(false);
            try (Statement statement = connection.createStatement()) {
                statement.setFetchSize(1000);
                int rows = 0;
                try (ResultSet answer = statement.executeQuery("select value from generate_series(1, 2500)")) {
                    while (answer.next()) {
                        rows++;
                    }
                }
                System.out.println("rows " + rows);
            }
            connection.commit();
            connection.setAutoCommit(true);
            // After five times a statement is kept by the server, and values go in binary.
            for (int time = 0; time < 8; time++) {
                String sql = "select ? + 1, cast(? as decimal(20, 4)), cast(? as date), created_at from lake.customers where code <> ? order by code";
                try (PreparedStatement statement = connection.prepareStatement(sql)) {
                    statement.setLong(1, 41);
                    statement.setBigDecimal(2, new BigDecimal("12.3456"));
                    statement.setDate(3, Date.valueOf("2025-10-01"));
                    statement.setString(4, "NOSUCH");
                    try (ResultSet answer = statement.executeQuery()) {
                        answer.next();
                        if (time == 7) {
                            System.out.println("typed " + answer.getLong(1) + " " + answer.getBigDecimal(2) + " " + answer.getString(3));
                            System.out.println("instant " + answer.getTimestamp(4).toInstant());
                        }
                    }
                }
            }
            try (Statement statement = connection.createStatement()) {
                statement.execute("delete from lake.customers");
            } catch (SQLException error) {
                System.out.println("refused " + error.getSQLState());
            }
        }
    }
}
